"""What `run` and `submit` share: how the cases are run, and the journal they go into."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sharedenv.app.build import build_plan
from sharedenv.app.launcher import launcher_words
from sharedenv.app.plan import ORDERS
from sharedenv.app.project import Selection
from sharedenv.app.table import SCRIPT, CaseTable
from sharedenv.app.work import Wanted, Work
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import Lines, duration, launcher_text
from sharedenv.cli.options import Function, option
from sharedenv.errors import SharedenvError
from sharedenv.key.plan import Plan
from sharedenv.report.building import BuildProgress
from sharedenv.report.console import Console
from sharedenv.run.filling import before_placeholder, check_placeholders, escaped, filled, has_placeholder
from sharedenv.run.terms import Terms

if TYPE_CHECKING:
    from sharedenv.cluster.share import Share

_CASE_OPTIONS = (
    option("--table", metavar="FILE", yields=("resume", "retry_failed"), help="One case a row of this CSV, TSV or JSON lines file."),
    option("--timeout", type=duration, metavar="TIME", help="End a script that takes longer: 90, 10m, 2h; 0: never."),
    option("--grace", type=duration, default=10.0, metavar="TIME", help="From TERM to KILL. [default: 10 s]"),
    option("--retries", type=click.IntRange(min=1), default=1, metavar="N", help="Try a script that fails up to N times in all."),
    option("--fail-fast", is_flag=True, help="Start nothing more after the first failure, whichever task or worker it is in."),
    option("--cwd", metavar="DIR", yields=("resume", "retry_failed"), help="Start every script there. [default: each in its own folder]"),
    option("--capture", metavar="NAME", help="Write each script's output to this file in its folder, in place of what is there."),
    option("--creates", type=Lines(), multiple=True, metavar="NAME", help="Done when this file is in its folder, before it starts too."),
    option("--launcher", type=launcher_text, metavar="CMD", help="Words before each script's Python: 'mpirun -n 4'."),
    option("--threads", type=click.IntRange(min=1), metavar="N", help="Set OMP_NUM_THREADS and its kin to N. [default: --cpus-per-case]"),
    option("--gpus-per-case", type=click.IntRange(min=1), metavar="N", help="Show each script N of the job's GPUs that no other one has."),
    option("--cpus-per-case", type=click.IntRange(min=1), metavar="N", help="Bind each script to N CPUs of its own, whole cores (Linux)."),
    option("--insist", is_flag=True, help="Begin also what another run is at work on."),
    option("--preload", is_flag=True, help="Import once what the scripts import, and fork for each of them (Linux)."),
)
_RESUME_OPTIONS = (
    option("--resume", is_flag=True, help="Go on with the last run over these scripts and its options: what is left undone, what failed."),
    option("--retry-failed", is_flag=True, help="What failed in it, and no more."),
    option(
        "--group", type=click.IntRange(min=1), metavar="N", needs=("retry_failed",),
        help="With --retry-failed, one group alone, as status --failures numbers them.",
    ),
    option("--upgrade", is_flag=True, needs=("resume", "retry_failed"), help="What is left, with the versions that are asked for now."),
    option("--run-id", metavar="ID", needs=("resume", "retry_failed"), help="The run that these two mean. [default: the last one]"),
    option("--no-build", is_flag=True, help="A missing environment is an error at once."),
)


#: adds --order
order_option = option(
    "--order", type=click.Choice(ORDERS), default=ORDERS[0], show_default=True,
    help="Begin with what is not known or took longest before, or in the order of the scripts.",
)  # fmt: skip


def case_options(function: Function) -> Function:
    """Adds the options that say how each case is run."""
    for add in reversed(_CASE_OPTIONS):
        function = add(function)
    return function


def case_terms(given: Mapping[str, Any], joblog: str | None = None) -> Terms:
    """What the options of `case_options` say of how cases are run. ``joblog``: its absolute path."""
    return Terms(
        timeout=given["timeout"] or None,
        grace=given["grace"],
        tries=given["retries"],
        fail_fast=given["fail_fast"],
        capture=given["capture"],
        creates=given["creates"],
        launcher=launcher_words(given["launcher"]),
        threads=given["threads"] or given["cpus_per_case"],
        preload=given["preload"],
        joblog=joblog,
        gpus_per_case=given["gpus_per_case"],
        cpus_per_case=given["cpus_per_case"],
    )


def resume_options(function: Function) -> Function:
    """Adds --resume, --retry-failed, --run-id and --no-build."""
    for add in reversed(_RESUME_OPTIONS):
        function = add(function)
    return function


def wanted(
    selection: Selection, arguments: tuple[str, ...] | None, given: Mapping[str, Any], here: str, share: Share | None = None
) -> Wanted:
    """What a command line asks for; ``arguments``: what followed `--`. Raises SharedenvError for options that contradict each other."""
    if given["run_id"] and not (given["resume"] or given["retry_failed"]):
        hint = f"sharedenv {selection.command} --resume --run-id {given['run_id']}"
        raise SharedenvError("--run-id names a run to go on with", hint=hint)
    if given.get("group") and not given["retry_failed"]:
        hint = f"sharedenv {selection.command} --retry-failed --group {given['group']}"
        raise SharedenvError("--group names a group of what failed", hint=hint)
    if given["upgrade"] and not (given["resume"] or given["retry_failed"]):
        hint = shlex.join(["sharedenv", "build", "--upgrade", *(selection.arguments or ["case*/script.py"])])
        raise SharedenvError("--upgrade says with which versions a run goes on; an environment is moved by build", hint=hint)
    table, folder = None, given["cwd"]
    if given["table"] is not None:
        table, folder = _table(selection, arguments, given, here)
        selection = replace(selection, listed=table.scripts)
    cwd = None if folder is None else _folder(folder, here)
    return Wanted(selection, arguments, cwd, share, given["run_id"], given["retry_failed"], given.get("lost_too", False), table,
                  command=tuple(sys.argv))  # fmt: skip


def _table(
    selection: Selection, arguments: tuple[str, ...] | None, given: Mapping[str, Any], here: str
) -> tuple[CaseTable, str | None]:
    """--table, and --cwd where it is the same for all rows. Raises SharedenvError."""
    from sharedenv.app.read_table import ARGUMENTS, read_table  # noqa: PLC0415 - most runs have no table

    name: str = given["table"]
    if name == selection.from_file == "-":
        hint = f"sharedenv {selection.command} --table FILE --from-file -"
        raise SharedenvError("--table and --from-file both read standard input", hint=hint)
    words = {} if given["resume"] or given["retry_failed"] else {ARGUMENTS: arguments or ()}
    table = read_table(name, {**words, **column_texts(given)}, given["cwd"], here)
    if table.scripts and not selection.empty:
        cause = "both say which script a row runs with"
        raise SharedenvError(f"the table {name} has a column {SCRIPT!r}, and SCRIPT is named, too", cause=cause)
    return table, None if table.cwd is not None else given["cwd"]


def column_texts(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The options in which `{column}` may stand, with what was given for them."""
    single = {f"--{name}": (given[name],) for name in ("cwd", "capture") if given[name] is not None}
    return {**single, "--creates": given["creates"], "--launcher": launcher_words(given["launcher"])}


def known_halfway(work: Work, given: Mapping[str, Any]) -> Work:
    """The work, with what --creates must not trust."""
    if not given["creates"]:
        return work
    from sharedenv.app.halfway import with_halfway  # noqa: PLC0415 - as above

    return with_halfway(work)


def refuse_words(work: Work, given: Mapping[str, Any]) -> None:
    """Raises SharedenvError where options name columns that the rows of an earlier run have not."""
    if any(case.row for case in work.cases):
        from sharedenv.app.read_table import check_words  # noqa: PLC0415 - as above

        check_words((case.row for case in work.cases), column_texts({**given, "cwd": None}))


def _folder(cwd: str, here: str) -> str:
    """--cwd, absolute, with its placeholders. Raises SharedenvError for one that isn't there: what a placeholder names is made."""
    check_placeholders("--cwd", cwd)
    folder = os.path.normpath(os.path.join(escaped(here), cwd))
    there = os.path.dirname(before_placeholder(folder)) if has_placeholder(folder) else filled(folder, {})
    if not os.path.isdir(there):
        raise SharedenvError(f"--cwd {cwd}: {there} is no folder", hint=f"mkdir -p {shlex.quote(there)}")
    return folder


def choose_sets(work: Work, options: BuildOptions, given: Mapping[str, Any], console: Console, queued: Collection[int] = ()) -> Work:
    """The work of a run that goes on, with its sets of versions; ``queued``: see settled. Raises SharedenvError where results would mix."""
    from sharedenv.app.mixing import settled, take_over  # noqa: PLC0415 - a new run does without

    def build(plan: Plan) -> None:  # what fails is told by who tries it again
        with BuildProgress(console) as progress:
            build_plan(work.project, plan, options, 2, progress)

    may_build = not any(given.get(name) for name in ("no_build", "build_job", "dry_run", "print_only"))
    command = "submit" if "build_job" in given else "run"
    work = settled(work, command, build if may_build else None, upgrade=given["upgrade"], queued=queued)
    if may_build:
        take_over(work)
    return work


