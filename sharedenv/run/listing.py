"""The plan of a run that workers join, read a few lines at a time: none of them parses it whole.

    plan.index   where each line of plan.jsonl begins, and where the last one ends: 8 bytes each, little end first
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator

from sharedenv.pool.private import FOLDER
from sharedenv.run.case import Case
from sharedenv.run.claims.blocks import CLAIMS, FOLDERS, Block
from sharedenv.run.journal.owned import open_owned
from sharedenv.run.journal.records import decode_plan
from sharedenv.run.journal.run import Run, readable, root_of, write_to_disk

_INDEX = "plan.index"
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


def settle_first(folder: str, count: int) -> None:
    """Closes the first cases of a new list: nobody is to begin them. Raises OSError."""
    write_to_disk(os.path.join(folder, CLAIMS, "1"), [Block(1, "nobody", 0, 0, count).encode()])


def is_joinable(run: Run) -> bool:
    """Whether a run was made for workers that claim its cases."""
    return os.path.exists(os.path.join(run.path, _INDEX))


def waits_for_workers(run: Run) -> bool:
    """Whether a run was made for workers, and they may join it still: cases of it are left, and nobody has stopped it."""
    from sharedenv.run.claims.folder import DiskFolder  # noqa: PLC0415 - runs of one process do without claims
    from sharedenv.run.claims.list_end import not_begun  # noqa: PLC0415 - as above

    return is_joinable(run) and not_begun(DiskFolder(run.path), run.asked.count) > 0


class Listing:
    """The cases of a run (`Run.owned`) by their position, from 0. Raises SharedenvError where they can't be read."""

    def __init__(self, run: Run) -> None:
        self._run = run
        with readable(run.id):
            self._plan = open_owned(os.path.join(run.path, "plan.jsonl"), run.path)
            self._index = open_owned(os.path.join(run.path, _INDEX), run.path)
        self._read: dict[int, Case] = {}

    def case(self, position: int) -> Case:
        """The case at a position."""
        if position not in self._read:
            with readable(self._run.id):
                self._read = dict(enumerate(self._some(position, min(_AHEAD, self._run.asked.count - position)), position))
        return self._read[position]

    def _some(self, first: int, count: int) -> list[Case]:
        packed = os.pread(self._index.fileno(), _WIDTH * (count + 1), _WIDTH * first)
        if len(packed) < _WIDTH * (count + 1):
            raise ValueError(f"{_INDEX} is cut off")
        ends = struct.unpack(f"<{count + 1}Q", packed)
        data = os.pread(self._plan.fileno(), ends[-1] - ends[0], ends[0])
        cases = decode_plan(data, root_of(self._run.path), self._run.asked.arguments, self._run.asked.cwd)
        if len(cases) < count:
            raise ValueError(f"{len(cases):,} of {count:,} cases")
        return cases

    def close(self) -> None:
        """Closes its files."""
        self._plan.close()
        self._index.close()
