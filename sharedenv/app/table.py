"""From scripts, and the rows of a table (`--table`) where there is one, to cases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sharedenv.run.case import Case, Row
from sharedenv.run.filling import escaped, fill, with_columns
from sharedenv.script.find import absolute
from sharedenv.values import frozen

SCRIPT = "script"  #: the column that names the script of each row, where there is one
Entry = tuple[str, Row | None]  # absolute path of a script, and the row that it runs with


@frozen
class CaseTable:
    """The rows of a table that can be used.

    name   of the file, as it was typed
    rows   in order
    cwd    --cwd where it differs from row to row, as it was typed, else None
    start  the folder that it, and names of scripts, are relative to
    """

    name: str
    rows: tuple[Row, ...]
    cwd: str | None
    start: str

    @property
    def scripts(self) -> tuple[str, ...]:
        """What its column of scripts names, as it stands there; () where it has none."""
        return tuple(row.by_name[SCRIPT] for row in self.rows) if self._has_scripts else ()

    @property
    def _has_scripts(self) -> bool:
        return SCRIPT in self.rows[0].columns

    @property
    def record(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {"file": os.path.join(self.start, self.name) if self.name != "-" else "-", "cwd": self.cwd, "start": self.start}

    def entries(self, paths: Sequence[str]) -> list[Entry]:
        """The script and the row of each case: each row with its own script, else each of ``paths`` with every row."""
        if self._has_scripts:
            return [(absolute(script, self.start), row) for script, row in zip(self.scripts, self.rows, strict=True)]
        return [(path, row) for path in paths for row in self.rows]


def entries_of(table: CaseTable | None, paths: Sequence[str]) -> list[Entry]:
    """The script and the row of each case; without a table, each script once."""
    return [(path, None) for path in paths] if table is None else table.entries(paths)


def new_cases(
    entries: Iterable[Entry],
    arguments: Sequence[str],
    cwd: str | None,
    place: tuple[str, str] | None = None,
    now: Mapping[str, tuple[str, str]] | None = None,
) -> Iterator[Case]:
    """The cases of these entries, with sequences from 1 on.

    arguments, cwd  of all; in the arguments of a row `{column}` is filled in
    place           --cwd where it differs from row to row, as typed, and the folder that it is relative to
    now             key and digest of each script, where they are known yet
    """
    given = tuple(arguments)
    for sequence, (path, row) in enumerate(entries, 1):
        key, digest = now[path] if now else ("", "")
        if row is None:
            yield Case(sequence, path, given, key, digest, cwd)
            continue
        values = row.by_name
        folder = cwd if place is None else folder_of(place[0], values, place[1])
        yield Case(sequence, path, tuple([fill(word, values) for word in given]), key, digest, folder, row)


def place_of(table: CaseTable | None, noted: Mapping[str, Any] | None = None) -> tuple[str, str] | None:
    """The ``place`` of new_cases: by a table, else by what an earlier run has ``noted`` of its own (`CaseTable.record`)."""
    if table is not None and table.cwd is not None:
        return table.cwd, table.start
    if noted and noted.get("cwd"):
        return str(noted["cwd"]), str(noted["start"])
    return None


def folder_of(cwd: str, values: Mapping[str, str], start: str) -> str:
    """Absolute path of the folder that --cwd names for a row with these values; `{number}` and `{slot}` are still to be filled in.

    ``start``: what it is relative to.
    """
    return os.path.normpath(os.path.join(escaped(start), with_columns(cwd, values)))
