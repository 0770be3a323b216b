"""Running cases: a run of this call, and a worker's part of one that others work on, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from sharedenv.api.asked import Path, Scripts, Table, given_terms, selection, table_of, terms, words
from sharedenv.api.companion import work_done
from sharedenv.api.events import OnEvent
from sharedenv.api.jobs import CaseOutput, JoinJob, RunJob, Wishes
from sharedenv.api.outcome import CaseResult, RunResult
from sharedenv.app.join import JoinOrder
from sharedenv.app.work import Request
from sharedenv.build.options import BuildOptions
from sharedenv.run.terms import Terms

OnResult = Callable[[CaseResult], object]
OnOutput = Callable[[CaseOutput], object]


def run(
    scripts: Scripts | None = None,
    *,
    arguments: Iterable[object] | None = None,
    table: Table | None = None,
    jobs: int | None = None,
    resume: bool | str = False,
    retry_failed: bool | str = False,
    cwd: Path | None = None,
    capture: str | None = None,
    creates: Iterable[str] | None = None,
    timeout: float | None = None,
    grace: float | None = None,
    retries: int | None = None,
    fail_fast: bool = False,
    delay: float = 0.0,
    threads: int | None = None,
    cpus_per_case: int | None = None,
    gpus_per_case: int | None = None,
    launcher: Iterable[str] | None = None,
    preload: bool | None = None,
    pool: Path | None = None,
    python: str | None = None,
    no_lock: bool = False,
    build: bool = True,
    offline: bool = False,
    insist: bool = False,
    on_result: OnResult | None = None,
    on_output: OnOutput | None = None,
    on_event: OnEvent | None = None,
) -> RunResult:
    """Builds what is missing, then runs every script in its environment, and waits; how the whole run stands then.

    scripts        files, or patterns ("case*/script.py"), relative to the current folder
    arguments      given to every script after its path; with a table, "{column}" is filled in
    table          one case for each of its rows: a file (CSV, TSV, JSON lines), or mappings of column → value
    jobs           scripts at a time; None: as many as this process may use CPUs
    resume         go on with the last run over these scripts, or with the run of this id: what is left undone, and what failed
    retry_failed   the same, of what failed alone
    cwd            start every script there; None: each in its own folder
    capture        name of a file in each script's folder that gets what it prints, in place of what is there
    creates        names of files: a case is done when they are in its folder, before it starts, too
    timeout        seconds after which a script is ended
    grace          seconds between TERM and KILL; None: 10
    retries        how often in all a script that fails is tried; None: once
    fail_fast      start nothing more after the first failure
    delay          seconds between two starts
    threads        OMP_NUM_THREADS and its kin; None: `cpus_per_case`, where that is given
    cpus_per_case, gpus_per_case  that each script has for itself
    launcher       words before each script's Python: ["mpirun", "-n", "4"]
    preload        import once what the scripts import, and fork for each (Linux)
    pool, python, no_lock, offline  as `build` has them
    build          whether what is missing may be built; else it is an error at once
    insist         begin also what another run is at work on
    on_result      is given each case's CaseResult when it has ended for good
    on_output      is given each case's CaseOutput, before its result; without it and without `capture`, what scripts print is not kept,
                   but for the last lines that a failure wrote on stderr (CaseResult.stderr)
    on_event       is given each line that the command would write for people

    A run that goes on has the terms that it was begun with (`timeout` to `preload`, and `python`), but for those that are given here.

    From any thread, and from several at once over different scripts. The cases belong to a process of their own: no signal's handler,
    child, variable or current folder of the caller is touched. The observers are called in the calling thread. KeyboardInterrupt, or what
    an observer raises, ends the cases that are at work (TERM, `grace`, KILL; once more: KILL) and is raised when the journal is written:
    resume goes on from there. Where the caller dies, its cases are ended, too.

    Raises SharedenvError where nothing could be run; a failure of a case, or of a build, is part of the result.
    """
    if resume and retry_failed:
        raise TypeError("resume runs what failed, too: give one of resume and retry_failed")
    name, rows = table_of(table)
    own = None if arguments is None else words(arguments)
    meant = selection("run", scripts, python=python, no_lock=no_lock)
    given = given_terms(
        timeout=timeout, grace=grace, retries=retries, fail_fast=fail_fast, capture=capture, creates=creates, launcher=launcher,
        threads=threads, cpus_per_case=cpus_per_case, gpus_per_case=gpus_per_case, preload=preload,
    )  # fmt: skip
    request = Request(
        meant,
        own,
        None if cwd is None else os.fspath(cwd),
        name,
        rows,
        next((said for said in (resume, retry_failed) if isinstance(said, str)), None),
        bool(resume or retry_failed),
        bool(retry_failed),
        command=("sharedenv", "run", *terms(Terms(), given).words(), *meant.arguments, *(("--", *own) if own else ())),
    )
    wishes = Wishes(on_event is not None, on_result is not None, on_output is not None)
    options = BuildOptions(offline=offline)
    job = RunJob(None if pool is None else os.fspath(pool), request, given, options, jobs, delay, build, insist, wishes)
    return work_done(job, _heard(on_event, on_result, on_output))


def join(
    run: str,
    *,
    jobs: int | None = None,
    delay: float = 0.0,
    takeover: float = 180.0,
    wait: bool = False,
    pool: Path | None = None,
    on_result: OnResult | None = None,
    on_output: OnOutput | None = None,
    on_event: OnEvent | None = None,
) -> RunResult:
    """Works on a run that `plan` (or `submit`) made, until no case of it is left to begin; how the whole run stands then.

    Any number may join, from any machine that sees the disk: each case is begun once.

    run       its id
    jobs      scripts at a time; None: as many as this process may use CPUs
    delay     seconds between two starts
    takeover  seconds without a sign of a worker after which what it has claimed and not begun is taken
    wait      until the others have ended, too

    Threads, observers and what is raised: as `run` has it.
    """
    wishes = Wishes(on_event is not None, on_result is not None, on_output is not None)
    job = JoinJob(None if pool is None else os.fspath(pool), run, JoinOrder(jobs, delay, takeover), wait, wishes)
    return work_done(job, _heard(on_event, on_result, on_output))


def _heard(on_event: OnEvent | None, on_result: OnResult | None, on_output: OnOutput | None) -> Callable[[object], None]:
    def hear(message: object) -> None:
        if isinstance(message, str) and on_event is not None:
            on_event(message)
        elif isinstance(message, CaseResult) and on_result is not None:
            on_result(message)
        elif isinstance(message, CaseOutput) and on_output is not None:
            on_output(message)

    return hear
