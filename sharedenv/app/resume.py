"""The cases of an earlier run that are to run again: --resume and --retry-failed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace

from sharedenv.app.project import Project, find_scripts, trusted
from sharedenv.app.work import Wanted, Work
from sharedenv.cluster.share import Share, take
from sharedenv.errors import SharedenvError
from sharedenv.pool.create import check_format
from sharedenv.pool.layout import Layout
from sharedenv.pool.location import find_pools, several_pools
from sharedenv.report.words import count as counted
from sharedenv.run.case import Case
from sharedenv.run.downed import downs, safest_first
from sharedenv.run.journal.choose import Choice, choose, find_run, outcomes
from sharedenv.run.journal.owned import refuse_doubt
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import holds_unfinished, list_runs, open_run
from sharedenv.run.journal.sessions import LOCAL, share_writer
from sharedenv.run.lost import refuse_lost
from sharedenv.run.outlived import leftover, refuse_leftover, without_result
from sharedenv.run.workers import refuse_live
from sharedenv.values import frozen


class NoRun(SharedenvError):
    """No earlier run has these scripts."""


@frozen
class Earlier:
    """The run to go on with; ``paths``: the scripts of it that are meant, none for all."""

    layout: Layout
    run: Run
    paths: tuple[str, ...]


def earlier_run(pool: str | None, wanted: Wanted, here: str) -> Earlier:
    """The run that --resume and --retry-failed mean. Raises SharedenvError when there is none."""
    paths = () if wanted.selection.empty else tuple(find_scripts(wanted.selection, here))
    if wanted.share is not None:
        paths = tuple(take(paths, wanted.share))
    layout = _pool(pool, wanted, paths, here)
    run = _find(layout, wanted, paths)
    refuse_doubt(run.path)
    return Earlier(layout, open_run(layout.runs, run.id, owned=True), paths)


def resumed_work(found: Earlier, wanted: Wanted, queued: Collection[int] | None = None) -> Work:
    """What an earlier run left to do. Raises SharedenvError when a process of this run is at work.

    ``queued``: for `submit`, which can do nothing for scripts that are gone: the sequences that it has in the queue already.
    """
    layout, run = found.layout, found.run
    results, sessions = run.read()
    writer = _writer(run, wanted.share)
    refuse_live(run.id, sessions, writer)
    old = run.cases()
    earlier = outcomes(old, results)
    asked, added = _asked(old, found.paths, wanted, run)
    resting = 0
    if wanted.failed_only:  # the scripts of the others may be whatever they have become
        failed = choose(asked, earlier, failed_only=True)
        asked, resting = list(failed.cases), failed.resting
    if added and writer != LOCAL:
        raise _other_shares(run, wanted.share, len(added))
    # one that is new to the run and not there is a slip of the pen: the plan refuses it
    present = [case for case in asked if case.sequence in added or os.path.lexists(case.script)]
    gone = [case for case in asked if case.sequence not in added and not os.path.lexists(case.script)]
    selection = wanted.selection
    project = Project(layout, tuple(dict.fromkeys(case.script for case in present)), selection.python, no_lock=selection.no_lock)
    plan = project.plan(project.paths)
    now = {path: (key, digest) for (path, key), digest in zip(plan.scripts, plan.digests, strict=True)}
    current = [replace(case, key=now[case.script][0], digest=now[case.script][1]) for case in present]
    choice = choose(current, earlier, failed_only=wanted.failed_only)
    lost = choose([replace(case, digest=earlier.get(case.identity, (None, ""))[1]) for case in gone], earlier,
                  failed_only=wanted.failed_only)
    if leftover(sessions, choice.cases):
        fresh = run.sessions()  # one that began since may have them at work
        refuse_live(run.id, fresh, writer)
        refuse_leftover(run.id, fresh, choice.cases)
    if not wanted.lost_too:
        refuse_lost(run, sessions, without_result(choice.cases, results))
    cases = safest_first((case for case in choice.cases if case.sequence not in (queued or ())), downs(sessions))
    resting += choice.resting + lost.resting
    told = f"{len(cases) + (len(lost.cases) if queued is None else 0):,} to run, {resting:,} left as they are"
    if len(cases) < len(choice.cases):
        told += f", {len(choice.cases) - len(cases):,} still in the queue"
    planned = {case.sequence: case.digest for case in old}
    return Work(
        project,
        plan,
        run,
        tuple(case for case in current if case.sequence in added),
        cases,
        lost.cases,
        {case.sequence: case.digest for case in cases if planned.get(case.sequence, case.digest) != case.digest},
        _notes(run, wanted.share, choice, told),
        sum(1 for case in old if case.identity not in earlier or earlier[case.identity][0].interrupted),
        tuple(case.sequence for case in choice.cases if case.identity in earlier),
        writer=writer,
        known=tuple(sessions),
        groups={case.sequence: case.key for case in old},
        found=results,
    )


def _writer(run: Run, share: Share | None) -> str:
    """A share goes on with its own run, or beside the others with one that held the scripts of them all."""
    if share is None or run.asked.extra.get("share") == str(share):
        return LOCAL
    return share_writer(share.index + 1, share.count)


def _other_shares(run: Run, share: Share | None, new: int) -> SharedenvError:
    """The error of a share that would add scripts to a run, as others do at the same time."""
    begun = run.asked.extra.get("share")
    return SharedenvError(
        f"share {share} has {counted(new, 'script')} that run {run.id} has not",
        cause=f"it was begun as share {begun}" if begun else "several tasks can't add scripts to one run",
        hint=f"sharedenv run --resume --shard {begun} 'case*/script.py'" if begun else "sharedenv run --array 'case*/script.py'",
    )


def _pool(pool: str | None, wanted: Wanted, paths: Sequence[str], here: str) -> Layout:
    found = find_pools(pool, os.environ, paths or [os.path.join(here, "script.py")], here, holds_unfinished)
    if len(found.pools) > 1:
        raise several_pools(found)
    layout = next(iter(found.pools))
    if layout is None:
        flag = "--retry-failed" if wanted.failed_only else "--resume"
        raise NoRun(f"no pool at {here} or above it, so no run to go on with", hint=f"sharedenv --pool DIR run {flag}")
    trusted(layout)
    check_format(layout)
    return layout


def _find(layout: Layout, wanted: Wanted, paths: Sequence[str]) -> Run:
    if wanted.run_id is not None:
        return open_run(layout.runs, wanted.run_id)
    runs = list_runs(layout.runs)
    found = find_run(runs, paths, wanted.arguments) if paths else next(iter(runs), None)
    if found is not None and wanted.share is not None and not _may_hold(found, paths):
        found = find_run([run for run in runs if "share" in run.asked.extra], paths, wanted.arguments)
    if found is None:
        what = "no earlier run over these scripts" if paths else f"no run in {layout.runs}"
        if paths and wanted.arguments and find_run(runs, paths, None) is not None:
            what += f" with the arguments {shlex.join(wanted.arguments)}"
        raise NoRun(what, hint="sharedenv status --all" if runs else "sharedenv run 'case*/script.py'")
    return found


def _may_hold(run: Run, paths: Sequence[str]) -> bool:
    """Whether a share may go on with a run: another share, which is told then, or one over all of its scripts, not one that
    tried a few of them.
    """
    return "share" in run.asked.extra or {case.script for case in run.cases()}.issuperset(paths)


def _asked(old: Sequence[Case], paths: Sequence[str], wanted: Wanted, run: Run) -> tuple[list[Case], set[int]]:
    """The cases of an earlier run that are meant, with those that are new to it; the sequences of the new ones."""
    if wanted.cwd not in (None, run.asked.cwd):
        begun = f"--cwd {run.asked.cwd}" if run.asked.cwd else "each script in its own folder"
        raise SharedenvError(f"run {run.id} goes on where it was begun: {begun}", hint="sharedenv run --cwd DIR SCRIPT…, a new run")
    if not paths:
        meant = [case for case in old if wanted.arguments in (None, case.arguments)]
        if not meant:
            words = shlex.join(wanted.arguments or ())
            raise SharedenvError(f"no script of run {run.id} was given the arguments {words}", hint=f"sharedenv status {run.id}")
        return meant, set()
    known: dict[str, list[Case]] = {}
    for case in old:
        if wanted.arguments is None or case.arguments == wanted.arguments:
            known.setdefault(case.script, []).append(case)
    asked: list[Case] = []
    added: set[int] = set()
    following = max((case.sequence for case in old), default=0) + 1
    arguments = run.asked.arguments if wanted.arguments is None else wanted.arguments
    for path in paths:
        if path in known:
            asked += known[path]
        elif not wanted.failed_only:
            asked.append(Case(following, path, arguments, cwd=run.asked.cwd))
            added.add(following)
            following += 1
    return asked, added


def _notes(run: Run, share: Share | None, choice: Choice, told: str) -> tuple[str, ...]:
    part = "" if share is None else f", share {share.index + 1} of {share.count}"
    notes = [f"going on with run {run.id}{part}: {told}"]
    if changed := choice.changed:
        more = f" and {len(changed) - 1:,} more" if len(changed) > 1 else ""
        notes.append(f"changed since they succeeded, run again: {os.path.relpath(changed[0].script)}{more}")
    return tuple(notes)
