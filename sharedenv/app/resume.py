"""The cases of an earlier run that are to run again: --resume and --retry-failed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sharedenv.app.mixing import Build, settled
from sharedenv.app.project import Project, find_scripts, trusted
from sharedenv.app.recorder import Teller
from sharedenv.app.table import Entry, entries_of, new_cases, place_of
from sharedenv.app.work import Wanted, Work, refuse_words
from sharedenv.cluster.share import Share, deal
from sharedenv.errors import SharedenvError
from sharedenv.pool.create import check_format
from sharedenv.pool.layout import Layout
from sharedenv.pool.location import find_pools, several_pools
from sharedenv.report.words import case_name, short_path
from sharedenv.report.words import count as counted
from sharedenv.run.case import Case
from sharedenv.run.downed import downs, safest_first
from sharedenv.run.edited import edited_later
from sharedenv.run.journal.choose import Choice, choose, find_most, find_run, has_words, outcomes
from sharedenv.run.journal.owned import refuse_doubt
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import holds_unfinished, list_runs, open_run
from sharedenv.run.journal.sessions import LOCAL, WORKER, share_writer
from sharedenv.run.lost import refuse_lost
from sharedenv.run.outlived import leftover, refuse_leftover, without_result
from sharedenv.run.products import halfway
from sharedenv.run.terms import Terms
from sharedenv.run.workers import refuse_live
from sharedenv.values import frozen


class NoRun(SharedenvError):
    """No earlier run has these scripts."""


@frozen
class Earlier:
    """The run to go on with; ``entries``: the scripts and rows of it that are meant, none for all; ``dead``: writers that ended without a
    word, and that a scheduler has seen end.
    """

    layout: Layout
    run: Run
    entries: tuple[Entry, ...]
    dead: frozenset[str] = frozenset()


def earlier_run(pool: str | None, wanted: Wanted, here: str, environ: Mapping[str, str]) -> Earlier:
    """The run that --resume and --retry-failed mean. Raises SharedenvError when there is none."""
    paths = () if wanted.selection.empty and wanted.table is None else find_scripts(wanted.selection, here)
    entries = tuple(entries_of(wanted.table, paths))
    if wanted.share is not None:
        entries = tuple(deal(entries, wanted.share))
    layout = _pool(pool, wanted, list(dict.fromkeys(path for path, _ in entries)), here, environ)
    run = _find(layout, wanted, entries)
    refuse_doubt(run.path)
    return Earlier(layout, open_run(layout.runs, run.id, owned=True), entries)


def idle_run(pool: str | None, wanted: Wanted, here: str, environ: Mapping[str, str], *, insist: bool) -> Earlier:
    """The same, where Slurm has no case of it in its queue. Raises SharedenvError, where that may be, too (but for who does ``insist``)."""
    found = earlier_run(pool, wanted, here, environ)
    return replace(found, dead=_refuse_queued(found.run, environ, insist=insist))


def left_work(
    found: Earlier, wanted: Wanted, terms: Terms, build: Build | None, *, upgrade: bool = False, queued: Collection[int] | None = None
) -> Work:
    """What an earlier run left to do, with its sets of versions. Raises SharedenvError: where a process of it is at work, where results
    would mix, where the ``terms`` name columns that its rows have not.

    build    builds what was never built, since only that tells its versions (what fails is told by who tries again); None where
             nothing may be built
    upgrade  the rest is to be computed with what is asked for now
    queued   for `submit`, which can do nothing for scripts that are gone: the sequences that it has in the queue already
    """
    work = settled(_resumed(found, wanted, queued), wanted.selection.command, build, upgrade=upgrade, queued=queued or ())
    refuse_words(work.cases, terms)
    return work


def tell_choice(work: Work, tell: Teller, here: str) -> None:
    """Tells what is to be known of the choice of what is left, and which scripts are gone."""
    for note in work.notes:
        tell.say(note)
    for case in work.settled:
        tell.say(f"gone: {case_name(case, lambda path: short_path(path, here))}")


def _resumed(found: Earlier, wanted: Wanted, queued: Collection[int] | None) -> Work:
    layout, run = found.layout, found.run
    results, sessions = run.read()
    writer = _writer(run, wanted.share) if queued is None else WORKER  # of a list of its own, beside what is in the queue
    refuse_live(run.id, sessions, writer)
    old = run.cases()
    earlier = outcomes(old, results)
    asked, added = _asked(old, found.entries, wanted, run)
    resting, edited = 0, list[Case]()
    if (only := wanted.only) is not None:
        resting, asked = sum(case.sequence not in only for case in asked), [case for case in asked if case.sequence in only]
    if wanted.failed_only:  # the scripts of the others may be whatever they have become
        failed = choose(asked, earlier, failed_only=True)
        edited = edited_later(asked, results, run.asked.created)
        asked, resting = list(failed.cases), resting + failed.resting
    if added and writer not in (LOCAL, WORKER):
        raise _other_shares(run, wanted.share, len(added))
    # one that is new to the run and not there is a slip of the pen: the plan refuses it
    there = {script: os.path.lexists(script) for script in dict.fromkeys(case.script for case in asked)}  # many rows may have one
    present = [case for case in asked if case.sequence in added or there[case.script]]
    gone = [case for case in asked if case.sequence not in added and not there[case.script]]
    selection = wanted.selection
    scripts = tuple(dict.fromkeys(case.script for case in present))
    project = Project(layout, scripts, selection.python, no_lock=selection.no_lock, skip_bad=selection.skip_bad)
    plan = project.plan(project.paths)
    now = {path: (key, digest) for (path, key), digest in zip(plan.scripts, plan.digests, strict=True)}
    current = [_as_now(case, *now[case.script]) for case in present if case.script in now]
    choice = choose(current, earlier, failed_only=wanted.failed_only)
    lost = choose([replace(case, digest=earlier.get(case.identity, (None, ""))[1]) for case in gone], earlier,
                  failed_only=wanted.failed_only)
    if leftover(run.id, sessions, choice.cases):
        fresh = run.sessions()  # one that began since may have them at work
        refuse_live(run.id, fresh, writer)
        refuse_leftover(run.id, fresh, choice.cases)
    if not wanted.lost_too:
        wanted_cases = [case for case in without_result(choice.cases, results) if case.sequence not in (queued or ())]
        refuse_lost(run, sessions, wanted_cases, found.dead, wanted.selection.command)
    cases = safest_first((case for case in choice.cases if case.sequence not in (queued or ())), downs(sessions))
    resting += choice.resting + lost.resting
    told = f"{len(cases) + (len(lost.cases) if queued is None else 0):,} to run, {resting:,} left as they are"
    if len(cases) < len(choice.cases):
        told += f", {len(choice.cases) - len(cases):,} still in the queue"
    chosen = {case.sequence: case.digest for case in cases}
    changed = {case.sequence for case in old if chosen.get(case.sequence, case.digest) != case.digest}
    return Work(
        project,
        plan,
        run,
        tuple(case for case in current if case.sequence in added),
        cases,
        lost.cases,
        {sequence: digest for sequence, digest in chosen.items() if sequence in changed},
        _notes(run, wanted.share, choice, edited, told),
        sum(1 for case in old if case.identity not in earlier or earlier[case.identity][0].interrupted),
        tuple(case.sequence for case in choice.cases if case.identity in earlier),
        writer=writer,
        known=tuple(sessions),
        groups={case.sequence: case.key for case in old},
        found=results,
        halfway=halfway(run),
    )


def _as_now(case: Case, key: str, digest: str) -> Case:
    """A case with the key and the text that its script has now. Most are what they were: 100,000 copies of them take a second and 9 MB."""
    return case if (case.key, case.digest) == (key, digest) else replace(case, key=key, digest=digest)


def _refuse_queued(run: Run, environ: Mapping[str, str], *, insist: bool) -> frozenset[str]:
    """The writers of an earlier run that Slurm has seen end. Raises SharedenvError where it has cases of the run in its queue, or may have
    (but for who does ``insist``).
    """
    from sharedenv.cluster.arrays import list_arrays  # noqa: PLC0415 - a new run is in nobody's queue
    from sharedenv.cluster.status import standing  # noqa: PLC0415 - as above

    if not list_arrays(run.path):
        return frozenset()
    stands = standing(run, environ)
    if stands.live:
        raise SharedenvError(
            f"run {run.id} is not over: job {stands.live[-1]} is still in Slurm's queue and runs its cases",
            hint=f"sharedenv cancel {run.id}, or wait: sharedenv status {run.id}",
        )
    if not insist and (sign := stands.sign):
        hint = f"sharedenv status {run.id}, or --insist when you know that it is over"
        raise SharedenvError(f"run {run.id} may not be over", cause=sign, hint=hint)
    return stands.dead


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
        cause=f"it was begun as share {begun}" if begun else "several processes can't add scripts to one run",
        hint=f"sharedenv run --resume --shard {begun} 'case*/script.py'"
        if begun and begun != str(share)
        else f"sharedenv run --resume --run-id {run.id}",
    )


def _pool(pool: str | None, wanted: Wanted, paths: Sequence[str], here: str, environ: Mapping[str, str]) -> Layout:
    found = find_pools(pool, environ, paths or [os.path.join(here, "script.py")], here, holds_unfinished)
    if len(found.pools) > 1:
        raise several_pools(found)
    layout = next(iter(found.pools))
    if layout is None:
        flag = "--retry-failed" if wanted.failed_only else "--resume"
        raise NoRun(f"no pool at {here} or above it, so no run to go on with", hint=f"sharedenv --pool DIR run {flag}")
    trusted(layout)
    check_format(layout)
    return layout


def _find(layout: Layout, wanted: Wanted, entries: Sequence[Entry]) -> Run:
    if wanted.run_id is not None:
        return open_run(layout.runs, wanted.run_id)
    runs = list_runs(layout.runs)
    found = _find_among(runs, wanted, entries) if entries else next(iter(runs), None)
    if found is not None and wanted.share is not None and not _may_hold(found, entries):
        found = _find_among([run for run in runs if "share" in run.asked.extra], wanted, entries)
    if found is None:
        what = f"no earlier run over these {'rows' if wanted.table else 'scripts'}" if entries else f"no run in {layout.runs}"
        if entries and wanted.arguments and _find_among(runs, replace(wanted, arguments=None), entries) is not None:
            what += f" with the arguments {shlex.join(wanted.arguments)}"
        raise NoRun(what, hint="sharedenv status --all" if runs else "sharedenv run 'case*/script.py'")
    return found


def _find_among(runs: Sequence[Run], wanted: Wanted, entries: Sequence[Entry]) -> Run | None:
    if wanted.table is None:
        return find_run(runs, (path for path, _ in entries), wanted.arguments)

    def held(run: Run) -> int:
        return len({case.identity for case in _as_asked(entries, wanted, run)}.intersection(case.identity for case in run.each_case()))

    return find_most([run for run in runs if "table" in run.asked.extra], held, len(entries))


def _as_asked(entries: Sequence[Entry], wanted: Wanted, run: Run) -> list[Case]:
    """The cases that are asked for, as this run would have them. Raises SharedenvError where its words name columns that these rows
    have not.
    """
    arguments = run.asked.arguments if wanted.arguments is None else wanted.arguments
    place = place_of(wanted.table, run.asked.extra.get("table"))
    if wanted.table is not None:
        from sharedenv.app.read_table import check_words  # noqa: PLC0415 - loaded already

        check_words(wanted.table.rows, {"the word": arguments, "--cwd": place[:1] if place else ()})
    return list(new_cases(entries, arguments, run.asked.cwd, place))


def _may_hold(run: Run, entries: Sequence[Entry]) -> bool:
    """Whether a share may go on with a run: another share, which is told then, or one over all of its scripts, not one that
    tried a few of them.
    """
    return "share" in run.asked.extra or {case.script for case in run.each_case()}.issuperset(path for path, _ in entries)


def _asked(old: Sequence[Case], entries: Sequence[Entry], wanted: Wanted, run: Run) -> tuple[list[Case], set[int]]:
    """The cases of an earlier run that are meant, with those that are new to it; the sequences of the new ones."""
    if wanted.cwd not in (None, run.asked.cwd):
        begun = f"--cwd {run.asked.cwd}" if run.asked.cwd else "each script in its own folder"
        raise SharedenvError(f"run {run.id} goes on where it was begun: {begun}", hint="sharedenv run --cwd DIR SCRIPT…, a new run")
    if not entries:
        meant = [case for case in old if has_words(run, case, wanted.arguments)]
        if not meant:
            words = shlex.join(wanted.arguments or ())
            raise SharedenvError(f"no script of run {run.id} was given the arguments {words}", hint=f"sharedenv status {run.id}")
        return meant, set()
    known: dict[object, list[Case]] = {}
    for case in old:
        if wanted.table is not None:
            known.setdefault(case.identity, []).append(case)
        elif has_words(run, case, wanted.arguments):
            known.setdefault(case.script, []).append(case)
    asked: list[Case] = []
    added: set[int] = set()
    following = max((case.sequence for case in old), default=0) + 1
    for case in _as_asked(entries, wanted, run):
        if there := known.get(case.script if wanted.table is None else case.identity):
            asked += there
        elif not wanted.failed_only:
            asked.append(replace(case, sequence=following))
            added.add(following)
            following += 1
    return asked, added


def _notes(run: Run, share: Share | None, choice: Choice, edited: Sequence[Case], told: str) -> tuple[str, ...]:
    part = "" if share is None else f", share {share.index + 1} of {share.count}"
    notes = [f"going on with run {run.id}{part}: {told}"]
    for changed, so in ((choice.changed, "run again"), (edited, "left as they are (--resume runs them, too)")):
        if changed:
            more = f" and {len(changed) - 1:,} more" if len(changed) > 1 else ""
            notes.append(f"changed since they succeeded, {so}: {os.path.relpath(changed[0].script)}{more}")
    return tuple(notes)
