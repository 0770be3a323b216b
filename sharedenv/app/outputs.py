"""The files that a command line has written, --capture and --joblog: none of them may be what the run reads.

Looked at before anything is built: a script opened for writing is an empty script. Costs one stat a case, and three where
an earlier run left its file.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence

from sharedenv.errors import SharedenvError
from sharedenv.report.words import case_name
from sharedenv.run.case import Case
from sharedenv.run.filling import check_placeholders, filled, has_placeholder

_Place = tuple[int, int]  # device and inode: what two names of one file share


def check_outputs(
    cases: Sequence[Case], capture: str | None, joblog: str | None, instead: str = "sharedenv run --tag … > FILE keeps them in one file"
) -> None:
    """Raises SharedenvError when a file to write is a script, its lock, another such file, or can't be made.

    capture  name of a file in each case's folder
    joblog   absolute path
    instead  the hint where several scripts would write one file
    """
    captures = {} if capture is None else _captures(cases, capture, instead)
    written = dict.fromkeys(captures, f"--capture {capture}")
    if joblog is not None:
        joblog = os.path.normpath(joblog)
        if joblog in written:
            raise SharedenvError(f"--capture and --joblog both name {joblog}")
        written[joblog] = f"--joblog {joblog}"
    if not written:
        return
    there: dict[_Place, str] = {}
    for path, option in written.items():
        found = _stat(path)
        if found is None:
            continue
        if stat.S_ISDIR(found.st_mode):
            raise SharedenvError(f"{option} is a folder", cause=None if path == joblog else path)
        if stat.S_ISREG(found.st_mode):  # /dev/null may be named by all
            other = there.setdefault((found.st_dev, found.st_ino), path)
            if other != path:
                raise SharedenvError(f"{option} would be written twice", cause=f"{other} and {path} are one file")
    _spare(cases, written, there)


def _captures(cases: Sequence[Case], name: str, instead: str) -> dict[str, Case]:
    """The path that each case's output goes to."""
    if not name or name.endswith("/"):
        raise SharedenvError("--capture needs the name of a file")
    check_placeholders("--capture", name, next((case.row.columns for case in cases if case.row), ()))
    found: dict[str, Case] = {}
    for case in cases:
        path = os.path.normpath(os.path.join(case.folder, filled(name, case.values)))
        if (other := found.setdefault(path, case)) is not case:
            raise SharedenvError(
                f"--capture {name} would be written by several scripts",
                cause=f"{_called(other)} and {_called(case)} would both write {path}",
                hint=instead,
            )
    made = any(map(has_placeholder, (name, *{case.cwd for case in cases})))
    if not made and ("/" in name or any(case.row for case in cases)):  # else it is the case's own folder
        for folder in dict.fromkeys(map(os.path.dirname, found)):
            if not os.path.isdir(folder):
                raise SharedenvError(f"--capture {name}: there is no folder {folder}", hint=f"mkdir -p {shlex.quote(folder)}")
    return found


def _called(case: Case) -> str:
    return case_name(case, lambda path: path)


def _spare(cases: Sequence[Case], written: dict[str, str], there: dict[_Place, str]) -> None:
    """Refuses what would overwrite a script or a lock, under whatever name."""
    for script in dict.fromkeys(case.script for case in cases):
        for path in (script, script + ".lock"):
            option = written.get(path)
            if option is None and there and (found := _stat(path)) is not None:
                name = there.get((found.st_dev, found.st_ino))
                option = None if name is None else written[name]
            if option is not None:
                raise SharedenvError(f"{option} would overwrite {path}")


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
