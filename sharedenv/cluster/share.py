"""An array task's variables → its share of the work. Pure; imports nothing heavy, since every task pays for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.values import frozen

Item = TypeVar("Item")


@frozen
class Share:
    """One of ``count`` shares: ``index`` is 0-based here, 1-based wherever a user reads or writes it."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def take(items: Sequence[Item], share: Share) -> Sequence[Item]:
    """The items of one share, in the list's order: every item is in exactly one share, sizes differ by one at most.

    Shares are strided (1st, 1+count-th, …), not blocks: cases of a sweep often get dearer along the list, and blocks
    would leave all the dear ones to the last task.
    """
    return items[share.index :: share.count]


def parse_shard(text: str) -> Share:
    """The share that ``I/N`` names, 1-based as in `split -n K/N`: 1/4 … 4/4. Raises SharedenvError."""
    first, _, last = text.partition("/")
    index, count = _digits(first), _digits(last)
    if index is None or count is None or not 1 <= index <= count:
        raise SharedenvError(
            f"--shard {text} is not a share of the work",
            cause="a share is I/N with I from 1 to N, such as 1/4",
            hint=f"--shard 1/{count or 4} … --shard {count or 4}/{count or 4}",
            exit_code=EXIT_USAGE,
        )
    return Share(index - 1, count)


def share_from_environment(environ: Mapping[str, str]) -> Share:
    """The share of this array task, from what Slurm, PBS, LSF or SGE says: its position in the array, not its number.

    Raises SharedenvError when this is no array task, or when the position can't be known from the variables alone (a
    list such as 1,3,7; PBS, which tells no task how many there are; LSF, where the job's name doesn't hold the range).
    """
    for variable, (no_array, share_from) in _SCHEDULERS.items():
        if environ.get(variable, no_array) != no_array:
            return share_from(environ)
    for variable, scheduler in _COUNTLESS.items():
        if variable in environ:
            raise _unknown(f"{scheduler} tells a task its number but not how many there are", variable)
    raise SharedenvError(
        "this is no task of an array job",
        cause="none of " + ", ".join([*_SCHEDULERS, *_COUNTLESS]) + " is set",
        hint="--shard 1/4 names the share by hand",
        exit_code=EXIT_USAGE,
    )


def array_name(environ: Mapping[str, str]) -> str:
    """What all tasks of this array have in common: the scheduler's number of its job; "" in none."""
    for variable, job in _JOBS.items():
        no_array = _SCHEDULERS[variable][0] if variable in _SCHEDULERS else ""
        if environ.get(variable, no_array) != no_array:
            name, _, index = environ.get(job, "").partition("[")  # 4711[3].server: PBS numbers the task in it
            return name + index.partition("]")[2]
    return ""


def _from_slurm(environ: Mapping[str, str]) -> Share:
    index, first, last, step, count = _numbers(
        environ, "SLURM_ARRAY_TASK_ID", *(f"SLURM_ARRAY_TASK_{name}" for name in ("MIN", "MAX", "STEP", "COUNT"))
    )
    array = _range("SLURM_ARRAY_TASK_ID", first, last, step)
    # a list (1,3,7) has the step 1, and two ranges the step of the first: only the count and the end prove a range
    if len(array) != count or last not in array:
        raise _unknown(f"the array is a list with gaps: {count} tasks from {first} to {last}", "SLURM_ARRAY_TASK_ID")
    return _position("SLURM_ARRAY_TASK_ID", index, array)


def _from_lsf(environ: Mapping[str, str]) -> Share:
    # LSF's numbers say where an array ends, not where it starts, nor that it is a list: only the name it was submitted under does
    index, last, step = _numbers(environ, "LSB_JOBINDEX", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP")
    name = environ.get("LSB_JOBNAME", "")
    bracketed = name.rpartition("%")[0] if name[-1:].isdigit() else name  # name[1-10]%2: two at a time
    indices = bracketed.rpartition("[")[2].removesuffix("]") if bracketed.endswith("]") else ""
    if "," in indices:
        raise _unknown(f"the array is a list: {name}", "LSB_JOBINDEX")
    limits, _, stride = indices.partition(":")
    first, _, end = limits.partition("-")
    start = _digits(first)
    if start is None or (_digits(end), _digits(stride or "1")) != (last, step):
        raise _unknown(f"LSF doesn't say where the array starts, and its name (LSB_JOBNAME) is {name!r}", "LSB_JOBINDEX")
    return _position("LSB_JOBINDEX", index, _range("LSB_JOBINDEX", start, last, step))


def _from_sge(environ: Mapping[str, str]) -> Share:
    index, first, last, step = _numbers(environ, *(f"SGE_TASK_{name}" for name in ("ID", "FIRST", "LAST", "STEPSIZE")))
    return _position("SGE_TASK_ID", index, _range("SGE_TASK_ID", first, last, step))


def _range(variable: str, first: int, last: int, step: int) -> range:
    if step < 1:
        raise _unknown(f"the step of the array is {step}", variable)
    return range(first, last + 1, step)


#: the variable that marks an array task → its value in other jobs, and how the share is found
_SCHEDULERS: dict[str, tuple[str, Callable[[Mapping[str, str]], Share]]] = {
    "SLURM_ARRAY_TASK_ID": ("", _from_slurm),
    "LSB_JOBINDEX": ("0", _from_lsf),
    "SGE_TASK_ID": ("undefined", _from_sge),
}

#: variables that number a task without saying how many there are → who sets them
_COUNTLESS = {"PBS_ARRAY_INDEX": "PBS", "PBS_ARRAYID": "Torque"}

#: the variable that marks an array task → the one that names the array's job
_JOBS = {
    "SLURM_ARRAY_TASK_ID": "SLURM_ARRAY_JOB_ID",
    "LSB_JOBINDEX": "LSB_JOBID",
    "SGE_TASK_ID": "JOB_ID",
    "PBS_ARRAY_INDEX": "PBS_JOBID",
    "PBS_ARRAYID": "PBS_JOBID",
}


def _position(variable: str, index: int, array: range) -> Share:
    if index not in array:
        raise _unknown(f"task {index} is not in the range {array.start}-{array.stop - 1}:{array.step}", variable)
    return Share(array.index(index), len(array))


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
