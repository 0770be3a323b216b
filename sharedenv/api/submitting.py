"""Runs for others to work on: a list frozen for workers, an array of a scheduler."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from sharedenv.api.asked import Path, Scripts, Table, given_terms, selection, table_of, terms, words
from sharedenv.api.environments import build_error
from sharedenv.api.events import Events, OnEvent, events
from sharedenv.app.build import NotBuilt, build_plan
from sharedenv.app.plan import PlanOrder, freeze
from sharedenv.app.project import tell_plan
from sharedenv.app.work import Request, Work, new_work, wanted
from sharedenv.build.options import BuildOptions
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.process import apart
from sharedenv.report.building import BuildProgress
from sharedenv.run.terms import Terms
from sharedenv.start.environ import current_folder


def plan(
    scripts: Scripts | None = None,
    *,
    arguments: Iterable[object] = (),
    table: Table | None = None,
    order: str = "longest",
    cwd: Path | None = None,
    capture: str | None = None,
    creates: Iterable[str] | None = None,
    timeout: float | None = None,
    grace: float | None = None,
    retries: int | None = None,
    fail_fast: bool = False,
    threads: int | None = None,
    cpus_per_case: int | None = None,
    gpus_per_case: int | None = None,
    launcher: Iterable[str] | None = None,
    preload: bool | None = None,
    pool: Path | None = None,
    python: str | None = None,
    no_lock: bool = False,
    offline: bool = False,
    insist: bool = False,
    on_event: OnEvent | None = None,
) -> str:
    """Builds what is missing and freezes a list of the cases for any number of workers (`join`); the run's id. Starts no case.

    order  "longest": begin with what is not known or took longest before; "given": in the order of the scripts
    The other arguments, and threads: as `run` and `build` have them. Raises SharedenvError.
    """
    named, here = None if pool is None else os.fspath(pool), current_folder(os.environ)
    tell = events(on_event, named)
    own = terms(Terms(), given_terms(
        timeout=timeout, grace=grace, retries=retries, fail_fast=fail_fast, capture=capture, creates=creates, launcher=launcher,
        threads=threads, cpus_per_case=cpus_per_case, gpus_per_case=gpus_per_case, preload=preload,
    ))  # fmt: skip
    name, rows = table_of(table)
    meant, said = selection("plan", scripts, python=python, no_lock=no_lock), words(arguments)
    command = ("sharedenv", "plan", *own.words(), *meant.arguments, *(("--", *said) if said else ()))
    asked = wanted(Request(meant, said or None, None if cwd is None else os.fspath(cwd), name, rows, command=command), own, here)
    work = new_work(named, asked, own, here)
    tell_plan(work.plan, tell)
    again = [*own.words(), *(("--python", python) if python else ()), *(("--no-lock",) if no_lock else ())]
    how = PlanOrder(own, {"again": again}, order, insist)
    return freeze(work, asked, how, tell, lambda: _build(work, BuildOptions(offline=offline), tell), os.environ).id


def _build(work: Work, options: BuildOptions, tell: Events) -> None:
    """Builds what is missing. Raises SharedenvError where that fails."""
    with apart(), BuildProgress(tell) as progress:
        outcome = build_plan(work.project, work.needed, options, 2, progress)
    if outcome.failed:
        raise build_error(outcome.failed, len(work.needed.needs))


def submit(
    scripts: Scripts | None = None,
    *,
    arguments: Iterable[object] = (),
    table: Path | None = None,
    options: Sequence[str] = (),
    tasks: int | None = None,
    per_task: int | None = None,
    max_running: int | None = None,
    time: str | None = None,
    partition: str | None = None,
    account: str | None = None,
    mem: str | None = None,
    cpus_per_task: int | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    pool: Path | None = None,
    python: str | None = None,
    on_event: OnEvent | None = None,
) -> str:
    """Builds what is missing and submits an array job over the scripts, to Slurm or Grid Engine; the run's id.

    tasks, per_task  how the cases are shared out; max_running: tasks at once
    time, partition, account, mem, cpus_per_task  of a task, as sbatch takes them
    jobs             scripts at a time in a task; None: its CPUs
    scheduler        "slurm" or "gridengine"; None: the one that is here
    options          any other of `sharedenv submit`, as words: ["--sbatch", "--gres=gpu:1", "--timeout", "10m"]

    The other arguments as `run` has them. Variables count as for the command (SHAREDENV_TIME). From any thread. Raises SharedenvError.
    """
    from sharedenv.app.submission import Surroundings  # noqa: PLC0415 - the rest does without click and schedulers
    from sharedenv.app.submit import submit as submitted  # noqa: PLC0415 - as above
    from sharedenv.cli.building import Building  # noqa: PLC0415 - as above
    from sharedenv.cli.submit import follow, read, tell_submitted  # noqa: PLC0415 - as above

    given = {
        "--table": table, "--tasks": tasks, "--per-task": per_task, "--max-running": max_running, "--time": time, "--partition": partition,
        "--account": account, "--mem": mem, "--cpus-per-task": cpus_per_task, "--jobs": jobs, "--scheduler": scheduler, "--python": python,
    }  # fmt: skip
    said = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    meant, own, here = selection("submit", scripts), words(arguments), current_folder(os.environ)
    tell = events(on_event, None if pool is None else os.fspath(pool))
    call = read([*said, *options, *meant.arguments, *(("--", *own) if own else ())], tell)
    try:
        with apart():
            ended = submitted(tell.pool, call, Surroundings(here, tell, Building(tell), os.environ))
    except NotBuilt as error:
        raise error.errors[0] from None
    if ended.script:
        return ended.script
    tell_submitted(ended, call, tell, here)
    follow(ended, call, tell, here)
    if ended.run is None or not ended.is_new:
        look = f"status {ended.run.id}" if ended.run else "status --all"
        cause = "nothing of it is left to submit" if ended.run else None
        raise SharedenvError("nothing was submitted", cause=cause, hint=f"sharedenv {look}", exit_code=EXIT_BUILD)
    return ended.run.id
