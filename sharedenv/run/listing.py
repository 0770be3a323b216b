"""The lists that workers of a run join, read a few lines at a time: none of them parses one whole.

A list is a folder: the run's own (`plan`), or that of an array (cluster/arrays.py), which may hold some of the run's cases.

    plan.jsonl   its cases in the order in which they are worked on, one a line
    plan.index   where each line of plan.jsonl begins, and where the last one ends: 8 bytes each, little end first
    plan.seconds about how long each case takes, where that is known of some: 4 bytes each, a float, little end first; 0: not known
    claims/ …    what is claimed and begun (claims/)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

from sharedenv.pool.files import FOLDER
from sharedenv.run.case import Case, CaseWork
from sharedenv.run.claims.blocks import CLAIMS, FOLDERS, LINKED, CaseBlock
from sharedenv.run.journal.owned import open_file, open_owned
from sharedenv.run.journal.records import decode_plan, encode_plan
from sharedenv.run.journal.run import Run, readable, root_of, write_to_disk

_PLAN, _INDEX, _SECONDS = "plan.jsonl", "plan.index", "plan.seconds"
LIST_FILES = (_PLAN, _INDEX)  #: those that each list has; with the last it is one
ARRAYS = "slurm"  #: a folder of the run, with that of each array below
_WIDTH = 8  # bytes
_AHEAD = 64  # cases read with one that is asked for: most often the next ones are, too


def make_listing(folder: str, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Passes on the lines of a plan; when they have come to an end, their index and the folders of claims are in ``folder``.

    Raises OSError.
    """
    ends = [0]
    for line in lines:
        ends.append(ends[-1] + len(line))
        yield line
    write_to_disk(os.path.join(folder, _INDEX), [struct.pack(f"<{len(ends)}Q", *ends)])
    for name in FOLDERS:
        os.mkdir(os.path.join(folder, name), FOLDER)
    os.symlink("links", os.path.join(folder, LINKED))


def write_list(folder: str, run: Run, cases: Sequence[Case], known: Mapping[CaseWork, float]) -> None:
    """Makes a list of cases of a run in a folder, in this order. ``known``: how long they took before, in seconds. Raises OSError."""
    if known:
        write_to_disk(os.path.join(folder, _SECONDS), [struct.pack("<f", known.get(case.work, 0.0)) for case in cases])
    lines = encode_plan(cases, root_of(run.path), run.asked.arguments, run.asked.cwd)
    write_to_disk(os.path.join(folder, _PLAN), make_listing(folder, lines))


def is_list(folder: str) -> bool:
    """Whether there is a list in a folder."""
    return os.path.exists(os.path.join(folder, _INDEX))


def settle_first(folder: str, count: int) -> None:
    """Closes the first cases of a new list: nobody is to begin them. Raises OSError."""
    write_to_disk(os.path.join(folder, CLAIMS, "1"), [CaseBlock(1, "nobody", 0, 0, count).encode()])


def is_joinable(run: Run) -> bool:
    """Whether a run was planned for workers that claim its cases: all of them are in its own list."""
    return is_list(run.path)


def lists_of(run: Run) -> list[str]:
    """The folders of all lists of a run, oldest first. Raises OSError."""
    arrays = os.path.join(run.path, ARRAYS)
    try:
        numbers = sorted(int(name) for name in os.listdir(arrays) if name.isdigit())
    except FileNotFoundError:
        numbers = []
    return [folder for folder in (run.path, *(os.path.join(arrays, str(number)) for number in numbers)) if is_list(folder)]


def length(run: Run, folder: str) -> int:
    """How many cases a list of a run has. Raises OSError."""
    return run.asked.count if folder == run.path else os.stat(os.path.join(folder, _INDEX)).st_size // _WIDTH - 1


def waits_for_workers(run: Run) -> bool:
    """Whether a run was planned for workers, and they may join it still: cases of it are left, and nobody has stopped it."""
    from sharedenv.run.claims.folder import DiskFolder  # noqa: PLC0415 - runs of one process do without claims
    from sharedenv.run.claims.list_end import not_begun  # noqa: PLC0415 - as above

    return is_joinable(run) and not_begun(DiskFolder(run.path), run.asked.count) > 0


class Listing:
    """The ``count`` cases of the list in a folder of a run by their position, from 0. Raises SharedenvError where they can't be read."""

    def __init__(self, run: Run, folder: str, count: int) -> None:
        self.count = count
        self._run, self._folder = run, folder
        self._known: bytes | None = None
        with readable(run.id):
            self._plan, self._index = self._open(_PLAN), self._open(_INDEX)
        self._read: dict[int, Case] = {}

    def case(self, position: int) -> Case:
        """The case at a position."""
        if position not in self._read:
            with readable(self._run.id):
                self._read = dict(enumerate(self._some(position, min(_AHEAD, self.count - position)), position))
        return self._read[position]

    def seconds(self, position: int) -> float:
        """About how long the case at a position takes, 0.0 where that is not known."""
        if self._known is None:
            with readable(self._run.id):
                try:
                    with self._open(_SECONDS) as file:
                        self._known = file.read()
                except FileNotFoundError:
                    self._known = b""
        found = self._known[4 * position : 4 * position + 4]
        return float(struct.unpack("<f", found)[0]) if len(found) == 4 else 0.0

    def _open(self, name: str) -> BinaryIO:
        path = os.path.join(self._folder, name)
        return open_owned(path, self._run.path) if self._run.owned else open_file(path)

    def _some(self, first: int, count: int) -> list[Case]:
        packed = os.pread(self._index.fileno(), _WIDTH * (count + 1), _WIDTH * first)
        if len(packed) < _WIDTH * (count + 1):
            raise ValueError(f"{_INDEX} is cut off")
        ends = struct.unpack(f"<{count + 1}Q", packed)
        data = os.pread(self._plan.fileno(), ends[-1] - ends[0], ends[0])
        cases = list(decode_plan([data], root_of(self._run.path), self._run.asked.arguments, self._run.asked.cwd))
        if len(cases) < count:
            raise ValueError(f"{len(cases):,} of {count:,} cases")
        return cases

    def close(self) -> None:
        """Closes its files."""
        self._plan.close()
        self._index.close()
