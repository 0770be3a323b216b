"""A list of cases for workers to join: frozen, in the order in which it is to be worked on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from sharedenv.app.beside import look_beside
from sharedenv.app.journal import create_journal, make_pool
from sharedenv.app.outputs import check_outputs
from sharedenv.app.project import tell_strays
from sharedenv.app.recorder import Teller
from sharedenv.app.sets import put_down_all
from sharedenv.app.work import Wanted, Work, remember_all
from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.pool.missing import look_up_all
from sharedenv.report.words import count, noun_of
from sharedenv.run.case import Case, CaseWork, Result
from sharedenv.run.downed import downs
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs, newest_first
from sharedenv.run.terms import ORDERS, Terms
from sharedenv.values import frozen

_QUICK, _FEW = 5, 5000  # runs, and cases in one: a tenth of a second
_LOOKED_AT = 20  # runs: reading the results of all that a pool ever had takes its time


def ordered(work: Work, order: str, tell: Teller) -> tuple[tuple[Case, ...], Mapping[CaseWork, float]]:
    """The cases of some work as workers are to begin them, and seconds that they took before. ``order``: as --order says."""
    known = known_durations(work.layout, work.cases) if order == ORDERS[0] else {}
    if not known:
        return work.cases, known
    if took := sum(seconds > 0 for seconds in known.values()):
        tell.say(f"longest first, by how long {count(took, noun_of(work.cases))} took before")
    return tuple(longest_first(work.cases, known)), known


def longest_first(cases: Sequence[Case], known: Mapping[CaseWork, float]) -> list[Case]:
    """The cases by how long each took before, the longest first; what is not known comes before all, as it may be longer.

    ``known``: see known_durations.
    """
    return sorted(cases, key=lambda case: -known.get(case.work, float("inf")))


def others_of(work: Work) -> tuple[Case, ...]:
    """The cases of an earlier run that are not to run: none for a new one. Raises SharedenvError."""
    chosen = {case.sequence for case in work.cases}
    return () if work.run is None else tuple(case for case in work.run.cases() if case.sequence not in chosen)


def carry_over(work: Work, run: Run) -> None:
    """Puts the results that an earlier run has, and that stay, into one that takes its place. Raises SharedenvError, OSError."""
    if work.run is None:
        return
    chosen = {case.sequence for case in work.cases}
    keys = {case.sequence: case.key for case in work.run.cases()}
    stay = [result for sequence, result in sorted(work.found.items()) if sequence not in chosen and not result.interrupted]
    session = run.begin()
    told: set[str] = set()
    for result in stay:
        if result.environment and result.environment not in told:
            told.add(result.environment)
            session.write({"environment": result.environment, "key": keys[result.sequence], "versions": result.versions})
        session.append(result, result.environment)
    for case in work.settled:
        session.append(Result(case.sequence, 1, time.time(), error="the script is gone"))
    if not session.close("done") and session.error is not None:
        raise session.error


def durations_before(layout: Layout, cases: Sequence[Case], own: str) -> dict[int, float]:
    """Seconds that cases took in the last run that knows most of them, by sequence; not in ``own``, the run that asks. Quick: a run asks
    it of itself, whose scripts wait meanwhile. Of many thousands their pace tells enough.
    """
    wanted = {case.work for case in cases}
    for run in islice((run for run in newest_first(layout.runs) if run.id != own), _QUICK):
        if len(cases) / 2 <= run.asked.count <= _FEW:
            known = _durations_in(run, wanted)
            if 2 * len(known) >= len(cases):
                return {case.sequence: known[case.work] for case in cases if case.work in known}
    return {}


def _durations_in(run: Run, wanted: Collection[CaseWork]) -> dict[CaseWork, float]:
    try:
        results = run.results()
        ended = {case.work: results[case.sequence] for case in run.cases() if case.sequence in results and case.work in wanted}
    except SharedenvError:
        return {}
    return {work: result.seconds for work, result in ended.items() if result.succeeded and not result.done_before}


def known_durations(layout: Layout, cases: Iterable[Case]) -> dict[CaseWork, float]:
    """Seconds that each of these cases took when it last succeeded, for those of which one of the last runs knows.

    0 for one that took its worker down since: it is to be the last to do so again.
    """
    wanted = {case.work for case in cases}
    known: dict[CaseWork, float] = {}
    for run in list_runs(layout.runs)[:_LOOKED_AT]:
        if not wanted:
            break
        try:
            results, sessions = run.read()
            down = downs(sessions)
            for case in run.each_case() if results else ():
                result = results.get(case.sequence)
                if case.work not in wanted or result is None or result.done_before:
                    continue
                if result.succeeded or (result.interrupted and case.sequence in down):
                    known[case.work] = result.seconds if result.succeeded else 0.0
                    wanted.discard(case.work)
        except SharedenvError:
            continue  # a file of it is gone: it knows nothing
    return known


@frozen
class PlanOrder:
    """How a list is made.

    terms   of each case, with the joblog
    noted   for who goes on with the run (`Asked.extra`)
    order   in which the cases may be begun, as --order says
    insist  also where another run is at work on them
    """

    terms: Terms
    noted: Mapping[str, Any]
    order: str = ORDERS[0]
    insist: bool = False


def freeze(work: Work, asked: Wanted, order: PlanOrder, tell: Teller, build: Callable[[], object], environ: Mapping[str, str]) -> Run:
    """Makes a run of the cases of ``work`` for workers to join, once ``build`` has built what is missing. What an earlier run has of the
    others goes into it, too. Raises SharedenvError, OSError.
    """
    check_outputs(work.cases, order.terms.capture, order.terms.joblog)
    tell_strays(work.project, tell)
    look_beside(work, tell, environ, insist=order.insist)
    build()
    make_pool(work.layout, tell)
    remember_all(work)
    others = others_of(work)
    noted = {**order.noted, "terms": order.terms.record()}
    run = create_journal(work, asked, noted, ordered=(*others, *ordered(work, order.order, tell)[0]), settled=len(others))
    try:
        carry_over(work, run)
        put_down_all(work.layout, run, look_up_all(work.layout, work.needed)[0].values())
    except BaseException:  # nobody knows of it yet
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run
