"""The folder of a run: `runs/<run-id>/`, a frozen plan and what came of it.

    run.json                      what was asked: written once
    plan.jsonl                    the cases, one a line: written once
    plan-<n>.jsonl                cases that a later `--resume` added, if any; sequences go on
    plan.index, claims/ …         of a run that any number of workers may join: see listing.py and claims/
    slurm/<n>/                    the n-th array of Slurm that was submitted over cases of it (cluster/arrays.py)
    results-<writer>.<n>.jsonl    one file for each session; a session is one process that works on the run
    versions/<key>-<n>.toml       the sets of versions that it was computed with (sets.py)

The folder appears complete, by a rename. A session's file is made by exclusive creation under the next free number,
which holds on every file system: of two that want the run at once, one gets the number and the other an error. Its
first line says who writes; then one result a line, each by a single write in append mode, so that a crash loses the
line in flight at most; and a last line that says how the session ended. A result's line also names the cases that were
started since the one before, and what starts without a result at hand has a line of its own: what runs is known at any
instant, so that a crash is followed by the names of the cases it has ended halfway. A heartbeat is the file's own time.
Array tasks of one run are writers of their own (`results-worker.1.17.3f09….1.jsonl`), at work side by side, as are the shares
that a later `run --array --resume` makes of a run (`results-share-3-of-8.1.jsonl`).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.files import FILE, file_system_time, private, readable_as, sync_descriptor
from sharedenv.pool.owner import Owner, lives, owner_of, this_process
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.owned import open_file, open_owned
from sharedenv.run.journal.records import LINE, decode_lines, decode_plan, encode_plan, is_result, pieces_of
from sharedenv.run.journal.sessions import LOCAL, SessionReading, SessionState, is_worker, list_number, settle, settle_others
from sharedenv.run.journal.writer import Session
from sharedenv.run.telling import last_words
from sharedenv.run.workers import busy, refuse_live, refuse_newer
from sharedenv.start.regular import MOST, open_regular, read_bounded
from sharedenv.values import frozen

_LAST = 512  # bytes at a file's end, in which the line of the end is


@frozen
class Asked:
    """What was asked of a run.

    command    the command line, for people
    arguments  after `--`, given to every case that has none of its own
    cwd        --cwd, absolute, or None
    created    seconds since the epoch
    count      number of cases
    keys       of the environments in the plan
    extra      what else its maker notes (the Slurm job, the size of a share …), JSON values
    """

    command: tuple[str, ...]
    arguments: tuple[str, ...]
    cwd: str | None
    created: float
    count: int
    keys: tuple[str, ...]
    extra: Mapping[str, Any]


@frozen
class Run:
    """One run on disk; what it holds is read when asked for.

    path   absolute
    owned  what it says is acted upon, and read only where nobody else could have written it (owned.py)
    """

    path: str
    asked: Asked
    owned: bool = False

    @property
    def id(self) -> str:
        """Its name, such as 20261122-093546."""
        return os.path.basename(self.path)

    @property
    def count(self) -> int:
        """Number of its cases."""
        return self.asked.count + sum(data.count(b"\n") for data in self._added())

    def cases(self) -> list[Case]:
        """The plan, in order, with what was added to it. Raises SharedenvError when it can't be read."""
        return sorted(self.each_case(), key=lambda case: case.sequence)  # they stand as they are worked on

    def each_case(self) -> Iterator[Case]:
        """The cases of the plan and what was added to it, as they stand: for who keeps few of them. Raises as `cases` does."""
        with readable(self.id), self._open("plan.jsonl") as file:
            found = 0
            texts = itertools.chain(pieces_of(file), self._added())
            for case in decode_plan(texts, root_of(self.path), self.asked.arguments, self.asked.cwd):
                found += 1
                yield case
            if found < self.asked.count:
                raise ValueError(f"{found:,} of {self.asked.count:,} cases")

    def extend(self, cases: Sequence[Case]) -> None:
        """Adds cases, whose sequences go on from the plan's. Only for who has the run (`begin`). Raises OSError."""
        path = os.path.join(self.path, f"plan-{sum(1 for _ in self._added()) + 1}.jsonl")
        write_to_disk(path + ".new", encode_plan(cases, root_of(self.path), self.asked.arguments, self.asked.cwd))
        os.rename(path + ".new", path)

    def _open(self, name: str) -> BinaryIO:
        path = os.path.join(self.path, name)
        return open_owned(path, self.path) if self.owned else open_file(path)

    def _added(self) -> Iterator[bytes]:
        for number in itertools.count(1):
            try:
                with self._open(f"plan-{number}.jsonl") as file:
                    yield _whole(file)
            except FileNotFoundError:
                return

    def results(self) -> dict[int, Result]:
        """The last result of each case that has one, by sequence; of those of two writers, that of the session that began last."""
        return self.read()[0]

    def sessions(self) -> list[SessionState]:
        """Every session so far, oldest first. Of the results no more is held at a time than those of one."""
        clock = functools.cache(file_system_time)
        return sorted((reading.state(lambda: clock(self.path)) for reading in self._readings()), key=lambda session: session.began)

    def read(self, *, tails: bool = False) -> tuple[dict[int, Result], list[SessionState]]:
        """Results and sessions in one pass over the files; ``tails``: with the whole of them, not the last words alone.

        A case that a session had started when it was lost counts as interrupted; one that a session at work runs again, or is
        to, has no result. Raises SharedenvError when a file can't be read.
        """
        found: dict[str, dict[int, Result]] = {}
        sessions = []
        clock = functools.cache(file_system_time)
        for reading in self._readings(tails=tails):
            session = reading.state(lambda: clock(self.path))
            settle(session, found.setdefault(reading.writer, {}), {one.sequence: one for one in reading.attempts})
            sessions.append(session)
        for session in sessions:
            for writer, others in found.items():
                if writer != session.writer:
                    beside = is_worker(writer) and list_number(writer) == list_number(session.writer)
                    settle_others(session, others, beside=beside)
        sessions.sort(key=lambda session: session.began)
        return _latest(found), sessions

    def has_ended(self) -> bool:
        """Whether every process that worked on it has said how it ended. Cheap: the end of each file. Raises SharedenvError."""
        with readable(self.id):
            files = session_files(self.path)
            return bool(files) and all(says_its_end(os.path.join(self.path, name)) for _, _, name in files)

    def is_idle(self) -> bool:
        """Whether nobody is at work on it: all have said how they ended, or died. Cheap, as `has_ended` is. Raises SharedenvError."""
        with readable(self.id):
            paths = [os.path.join(self.path, name) for _, _, name in session_files(self.path)]
            return all(says_its_end(path) or self._died(path) for path in paths)

    def _died(self, path: str) -> bool:
        owner = first_owner(path)
        return owner is not None and not lives(owner, abs(file_system_time(self.path) - os.stat(path).st_mtime))

    def results_by_writer(self) -> dict[str, dict[int, Result]]:
        """The last result that each writer has for a case, by writer and sequence."""
        found: dict[str, dict[int, Result]] = {}
        for reading in self._readings():
            if reading.attempts:
                found.setdefault(reading.writer, {}).update((one.sequence, one) for one in reading.attempts)
        return found

    def attempts(self) -> list[Result]:
        """Every attempt that was put down, by whomever, in the order in which they were started."""
        return sorted((one for reading in self._readings() for one in reading.attempts), key=lambda result: result.start)

    def begin(
        self,
        *,
        jobs: int = 1,
        writer: str = LOCAL,
        keys: Iterable[str] = (),
        again: Iterable[int] = (),
        known: Iterable[SessionState] | None = None,
    ) -> Session:
        """Takes the run for this process and ``writer``; ``again``: sequences that have a result and are run again.

        ``known``: the sessions that there were when it was chosen what to run. Raises SharedenvError when another process
        has it, or has had it since.
        """
        sessions = self.sessions()
        refuse_live(self.id, sessions, writer)
        if known is not None:
            refuse_newer(self.id, sessions, known, writer)
        number = max((state.number for state in sessions if state.writer == writer), default=0) + 1
        return self._session(writer, number, jobs, keys, again)

    def join(self, writer: str, jobs: int, keys: Iterable[str]) -> Session:
        """Works on the run beside others, as a ``writer`` that nobody was before. What they do is not looked at: there may be many."""
        return self._session(writer, 1, jobs, keys, ())

    def _session(self, writer: str, number: int, jobs: int, keys: Iterable[str], again: Iterable[int]) -> Session:
        path = os.path.join(self.path, f"results-{writer}.{number}.jsonl")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, FILE)
        except (FileExistsError, PermissionError):
            if not os.path.lexists(path):  # who is too late on sshfs reads EPERM as often as EEXIST
                raise
            raise busy(self.id, None) from None
        readable_as(path, os.path.dirname(self.path))
        following = os.path.join(self.path, f"results-{writer}.{number + 1}.jsonl")
        session = Session(descriptor, path, following)
        first = {"owner": this_process().record(), "jobs": jobs, "started": time.time(), "began": os.fstat(descriptor).st_mtime}
        session.write({**first, "keys": sorted(set(keys)), "again": sorted(again)})
        return session

    def _readings(self, *, tails: bool = False) -> Iterator[SessionReading]:
        """What each session's file says; results that lack something are left out."""
        with readable(self.id):
            for writer, number, name in session_files(self.path):
                reading = SessionReading(writer, number)
                with self._open(name) as file:
                    read_on(file, reading, tails=tails)
                yield reading


def _latest(found: Mapping[str, Mapping[int, Result]]) -> dict[int, Result]:
    """The last result of each case, of those of each writer: of two workers of one list, who count attempts together, that of the later
    attempt; of two lists, that of the later list; else that of the session that began last.
    """
    results: dict[int, Result] = {}
    places: dict[int, tuple[int, int, float]] = {}
    for writer, own in found.items():
        if is_worker(writer):
            number = list_number(writer)
            for sequence, result in own.items():
                place = (number, result.attempt, result.start)
                if places.get(sequence, place) <= place:
                    results[sequence], places[sequence] = result, place
    for writer, own in found.items():
        if not is_worker(writer):
            for sequence, result in own.items():
                known = results.get(sequence)
                if known is None or known.order <= result.order:
                    results[sequence] = result
    return results


@contextlib.contextmanager
def readable(run_id: str, what: str = "its plan") -> Iterator[None]:
    """Turns what is wrong with the files of a run into SharedenvError: what cleans a disk by age takes single ones."""
    try:
        yield
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
    except (ValueError, KeyError, TypeError) as error:
        cause = f"{what} is damaged: {error if type(error) is ValueError else repr(error)}"
    else:
        return
    raise SharedenvError(f"run {run_id} can't be read", cause=cause, hint="sharedenv status --all", exit_code=EXIT_FAILED)


def says_its_end(path: str) -> bool:
    """Whether the last line of a session's file is that of its end. Raises OSError."""
    return last_line(path).startswith(b'{"ended":')


def last_line(path: str) -> bytes:
    """The last line of a session's file, or what is left of it in `_LAST` bytes. Raises OSError."""
    descriptor = open_regular(path)
    try:
        return os.pread(descriptor, _LAST, max(0, os.fstat(descriptor).st_size - _LAST)).rstrip().rpartition(b"\n")[2]
    finally:
        os.close(descriptor)


def first_owner(path: str) -> Owner | None:
    """Who wrote a session's file, by its first line; None where that doesn't say so. Raises OSError."""
    with open_file(path) as file:
        try:
            return owner_of(json.loads(file.readline(LINE))["owner"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def root_of(path: str) -> str:
    """The project's root, of the path of a run: one that was moved finds its scripts again."""
    # <root>/.sharedenv/runs/<run-id>
    return os.path.dirname(os.path.dirname(os.path.dirname(path)))


def session_files(path: str) -> list[tuple[str, int, str]]:
    """The sessions' files of the run at ``path``: writer, number, name."""
    found = []
    for name in os.listdir(path):
        if name.startswith("results-") and name.endswith(".jsonl"):
            writer, _, number = name[len("results-") : -len(".jsonl")].rpartition(".")
            if number.isdigit():
                found.append((writer, int(number), name))
    return sorted(found)


def read_on(file: BinaryIO, reading: SessionReading, *, tails: bool = False, cut: bool = True) -> int:
    """Lets ``reading`` hear a session's file from where that stands, a piece at a time: with what 100,000 cases said when they failed it
    has 400 MB. Bytes of the whole lines in it; ``cut``: a last line without its end is heard, too.

    Raises as `pieces_of` does.
    """
    reading.touched = os.fstat(file.fileno()).st_mtime
    whole = 0
    for lines in pieces_of(file):
        if lines.endswith(b"\n"):
            whole += len(lines)
        elif not cut:
            break
        reading.hear(_records(lines, tails=tails))
    return whole


def _records(lines: bytes, *, tails: bool) -> Iterator[dict[str, Any]]:
    for record in decode_lines(lines):
        if not tails and isinstance(tail := record.get("tail"), str):
            record["tail"] = last_words(tail)
        if "attempt" not in record or is_result(record):
            yield record


def _whole(file: BinaryIO) -> bytes:
    return read_bounded(file.fileno(), str(file.name), MOST)


def write_to_disk(path: str, lines: Iterable[bytes]) -> None:
    """Writes a file that is there after a crash of the machine, too. Raises OSError."""
    with open(path, "wb", opener=private) as file:
        file.writelines(lines)
        file.flush()
        sync_descriptor(file.fileno())
