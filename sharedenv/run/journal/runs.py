"""The runs of a pool: begun, found by name, listed. What one of them holds: run.py."""

from __future__ import annotations

import bisect
import contextlib
import errno
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.files import FOLDER, file_system_time, make_folders, readable_as
from sharedenv.pool.owner import this_process
from sharedenv.run.case import Case
from sharedenv.run.journal.owned import open_file, open_owned, refuse_folder
from sharedenv.run.journal.records import encode_line, encode_plan
from sharedenv.run.journal.run import Asked, Run, readable, root_of, write_to_disk
from sharedenv.run.journal.standing import stand
from sharedenv.run.listing import make_listing, settle_first
from sharedenv.run.workers import DONE
from sharedenv.start.regular import SMALL, read_bounded

SCHEMA = 1
_ZONES = 26 * 3600.0  # seconds by which local times of one instant differ at most


def create_run(
    runs: str,
    cases: Sequence[Case],
    *,
    command: Sequence[str] = (),
    arguments: Sequence[str] = (),
    cwd: str | None = None,
    extra: Mapping[str, Any] | None = None,
    now: float | None = None,
    joinable: bool = False,
    settled: int = 0,
) -> Run:
    """Writes a new run below ``runs`` (the pool's folder of runs) and returns it. Raises OSError when it can't be
    written; nothing of it is left then.

    ``joinable``: workers are to claim the cases, in the order given, whatever their sequences are; but for the first ``settled``
    ones, which are another run's.
    """
    make_folders(runs)
    created = file_system_time(runs) if now is None else now
    keys = sorted({case.key for case in cases[settled:]})
    asked = Asked(tuple(command), tuple(arguments), cwd, created, len(cases), tuple(keys), dict(extra or {}))
    name = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
    staging = os.path.join(runs, f".new-{this_process().host}-{os.getpid()}-{os.urandom(4).hex()}")
    os.mkdir(staging, FOLDER)
    try:
        lines = encode_plan(cases, root_of(staging), arguments, cwd)
        write_to_disk(os.path.join(staging, "plan.jsonl"), make_listing(staging, lines) if joinable else lines)
        write_to_disk(os.path.join(staging, "run.json"), [_encode_asked(asked)])
        if settled:
            settle_first(staging, settled)
        for path in (staging, *(os.path.join(staging, file) for file in os.listdir(staging))):
            readable_as(path, runs)
        return Run(_publish(staging, os.path.join(runs, name)), asked)
    except BaseException:
        _discard(staging)
        raise


def _publish(staging: str, path: str) -> str:
    """Gives a finished run the first free one of the names PATH, PATH-2, …"""
    for attempt in range(1, 1000):
        final = path if attempt == 1 else f"{path}-{attempt}"
        try:
            os.rename(staging, final)  # fails on a folder that is not empty: a run of the same second
        except OSError:
            if not os.path.isdir(final):
                raise
        else:
            return final
    raise FileExistsError(errno.EEXIST, "too many runs of one second", path)


def _discard(staging: str) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(staging):
            path = os.path.join(staging, name)
            (os.rmdir if os.path.isdir(path) else os.unlink)(path)
        os.rmdir(staging)


def open_run(runs: str, run_id: str, *, owned: bool = False) -> Run:
    """The run of this name; ``owned``: to be acted upon. Raises SharedenvError when there is none, or it must not be."""
    path = os.path.join(runs, os.path.basename(run_id) or ".none")
    with readable(run_id, "run.json"):
        try:
            if owned:
                refuse_folder(path)
            file_path = os.path.join(path, "run.json")
            with open_owned(file_path, path) if owned else open_file(file_path) as file:
                asked = _decode_asked(json.loads(read_bounded(file.fileno(), file_path, 4 * SMALL)))
                # no run was begun after its own file was written: the clock of its node was ahead
                return Run(path, replace(asked, created=min(asked.created, os.fstat(file.fileno()).st_mtime)), owned)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG) and not os.path.exists(os.path.join(path, "plan.jsonl")):
                raise SharedenvError(f"no run {run_id!r} in {runs}", hint="sharedenv status --all", exit_code=EXIT_USAGE) from None
            raise


def list_runs(runs: str, unread: dict[str, SharedenvError] | None = None) -> list[Run]:
    """Every run, newest first; folders that hold none are passed over. Why others can't be read is added to ``unread``, by name."""
    found = []
    try:
        names = os.listdir(runs)
    except FileNotFoundError:
        return []
    for name in names:
        if not name.startswith("."):
            try:
                found.append(open_run(runs, name))
            except SharedenvError as error:
                if unread is not None and error.exit_code != EXIT_USAGE:
                    unread[name] = error
    found.sort(key=_age, reverse=True)
    return found


def newest_first(runs: str, unread: dict[str, SharedenvError] | None = None) -> Iterator[Run]:
    """As list_runs, one by one, and no more of them are opened than is needed to know which is the next."""
    try:
        names = sorted((name for name in os.listdir(runs) if not name.startswith(".")), key=_by_name, reverse=True)
    except FileNotFoundError:
        return
    opened: list[tuple[tuple[float, int, str], Run]] = []
    for name in names:
        latest = _time_of_name(name) + _ZONES
        while opened and opened[-1][1].asked.created > latest:
            yield opened.pop()[1]
        try:
            run = open_run(runs, name)
        except SharedenvError as error:
            if unread is not None and error.exit_code != EXIT_USAGE:
                unread[name] = error
        else:
            bisect.insort(opened, (_age(run), run))
    yield from (run for _, run in reversed(opened))


def _by_name(name: str) -> tuple[bool, str]:
    return not name[:8].isdigit(), name


def _age(run: Run) -> tuple[float, int, str]:
    return run.asked.created, len(run.id), run.id


def _time_of_name(name: str) -> float:
    """When a run was begun, by the local time in its name; infinite for other names."""
    try:
        return time.mktime(time.strptime(name[:15], "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        return math.inf


def holds_unfinished(pool: str) -> bool:
    """Whether a pool (its path) holds a run that is at work, or that --resume would go on with; what can't be read counts as one."""
    unread: dict[str, SharedenvError] = {}
    try:
        runs = list_runs(os.path.join(pool, "runs"), unread)
        return bool(unread) or any(stand(run.asked.count, *run.read(), time.time()).state != DONE for run in runs)
    except (SharedenvError, OSError):
        return True


def _encode_asked(asked: Asked) -> bytes:
    return encode_line(
        {
            "schema": SCHEMA,
            "command": asked.command,
            "arguments": asked.arguments,
            "cwd": asked.cwd,
            "created": asked.created,
            "count": asked.count,
            "keys": asked.keys,
            "extra": asked.extra,
        }
    )


def _decode_asked(record: Mapping[str, Any]) -> Asked:
    return Asked(
        tuple(record["command"]),
        tuple(record["arguments"]),
        record["cwd"],
        float(record["created"]),
        int(record["count"]),
        tuple(record["keys"]),
        dict(record["extra"]),
    )
