"""An array task's variables → its share of the work. Pure; imports nothing heavy, since every task pays for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sharedenv.errors import EXIT_USAGE, SharedenvError

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Share:
    """One of ``count`` shares: ``index`` is 0-based here, 1-based wherever a user reads or writes it."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def take(items: Sequence[Item], share: Share) -> Sequence[Item]:
    """The items of one share, in the order of the list: every item is in exactly one share, sizes differ by one at most.

    Shares are strided (1st, 1+count-th, …), not blocks: cases of a sweep often get dearer along the list, and blocks would
    leave all the dear ones to the last task.
    """
    return items[share.index :: share.count]


def parse_shard(text: str) -> Share:
    """The share that ``I/N`` names, 1-based as in `split -n K/N`: 1/4 … 4/4. Raises SharedenvError."""
    first, slash, last = text.partition("/")
    index, count = _digits(first), _digits(last)
    if not slash or index is None or count is None or not 1 <= index <= count:
        raise SharedenvError(
            f"--shard {text} is not a share of the work",
            cause="a share is I/N with I from 1 to N, such as 1/4",
            hint="--shard 1/4 … --shard 4/4",
            exit_code=EXIT_USAGE,
        )
    return Share(index - 1, count)


def share_from_environment(environ: Mapping[str, str]) -> Share:
    """The share of this array task, from what Slurm, PBS, LSF or SGE says: its position in the array, not its number.

    Raises SharedenvError when this is no array task, or when the position can't be known from the variables alone (a list
    such as 1,3,7; PBS, which tells no task how many there are).
    """
    for variable, share_from in _SCHEDULERS:
        if environ.get(variable, "undefined") not in ("undefined", "0" if variable == "LSB_JOBINDEX" else ""):
            return share_from(environ)
    raise SharedenvError(
        "this is no task of an array job",
        cause="none of " + ", ".join(variable for variable, _ in _SCHEDULERS) + " is set",
        hint="--shard 1/4 names the share by hand",
        exit_code=EXIT_USAGE,
    )


def _from_slurm(environ: Mapping[str, str]) -> Share:
    index, first, last, step, count = _numbers(
        environ, "SLURM_ARRAY_TASK_ID", *(f"SLURM_ARRAY_TASK_{name}" for name in ("MIN", "MAX", "STEP", "COUNT"))
    )
    return _position(index, first, last, step, count, "SLURM_ARRAY_TASK_ID")


def _from_pbs(environ: Mapping[str, str]) -> Share:
    raise _unknown("PBS tells a task its number but not how many there are", "PBS_ARRAY_INDEX")


def _from_torque(environ: Mapping[str, str]) -> Share:
    raise _unknown("Torque tells a task its number but not how many there are", "PBS_ARRAYID")


def _from_lsf(environ: Mapping[str, str]) -> Share:
    # LSF says where an array ends, not where it starts: its indices count from 1, so the start is within the first step
    index, last, step = _numbers(environ, "LSB_JOBINDEX", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP")
    if step < 1:
        raise _unknown(f"LSB_JOBINDEX_STEP is {step}", "LSB_JOBINDEX")
    first = (index - 1) % step + 1
    last -= (last - first) % step
    return _position(index, first, last, step, None, "LSB_JOBINDEX")


def _from_sge(environ: Mapping[str, str]) -> Share:
    index, first, last, step = _numbers(environ, *(f"SGE_TASK_{name}" for name in ("ID", "FIRST", "LAST", "STEPSIZE")))
    if step >= 1:
        last -= (last - first) % step  # SGE keeps the user's end, such as 10 in 1-10:4
    return _position(index, first, last, step, None, "SGE_TASK_ID")


#: the variable that marks an array task (SGE sets it to "undefined", LSF to 0, in other jobs) → how its share is found
_SCHEDULERS = (
    ("SLURM_ARRAY_TASK_ID", _from_slurm),
    ("PBS_ARRAY_INDEX", _from_pbs),
    ("PBS_ARRAYID", _from_torque),
    ("LSB_JOBINDEX", _from_lsf),
    ("SGE_TASK_ID", _from_sge),
)


def _position(index: int, first: int, last: int, step: int, count: int | None, variable: str) -> Share:
    """Position of ``index`` in ``first``-``last``:``step``; ``count``, where told, proves that the array has no gaps."""
    if step < 1 or not first <= index <= last or (index - first) % step:
        raise _unknown(f"task {index} is not in the range {first}-{last}:{step}", variable)
    expected = (last - first) // step + 1
    if (last - first) % step or count not in (None, expected):
        raise _unknown(f"the array is a list with gaps: {count} tasks between {first} and {last}", variable)
    return Share((index - first) // step, expected)


def _numbers(environ: Mapping[str, str], *names: str) -> list[int]:
    values = []
    for name in names:
        value = _digits(environ.get(name, ""))
        if value is None:
            state = f"is {environ[name]!r}" if name in environ else "is not set"
            raise _unknown(f"{name} {state}", names[0])
        values.append(value)
    return values


def _digits(text: str) -> int | None:
    # int() alone takes "+3", "1_000" and Arabic digits
    return int(text) if text.isascii() and text.isdigit() else None


def _unknown(cause: str, variable: str) -> SharedenvError:
    return SharedenvError(
        "can't tell which share of the work this array task has",
        cause=cause,
        hint=f'--shard "${variable}/N" with N the number of tasks, tasks numbered from 1 to N',
        exit_code=EXIT_USAGE,
    )
