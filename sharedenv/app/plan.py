"""A list of cases for workers to join: frozen, in the order in which it is to be worked on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.run.case import Case, CaseWork
from sharedenv.run.journal.runs import list_runs

_LOOKED_AT = 20  # runs: reading the results of all that a pool ever had takes its time


def longest_first(cases: Sequence[Case], known: Mapping[CaseWork, float]) -> list[Case]:
    """The cases by how long each took before, the longest first; what is not known comes before all, as it may be longer."""
    return sorted(cases, key=lambda case: -known.get(case.work, float("inf")))


def known_durations(layout: Layout, cases: Iterable[Case]) -> dict[CaseWork, float]:
    """Seconds that each of these cases took when it last succeeded, for those of which one of the last runs knows."""
    wanted = {case.work for case in cases}
    known: dict[CaseWork, float] = {}
    for run in list_runs(layout.runs)[:_LOOKED_AT]:
        if not wanted:
            break
        try:
            results = run.results()
            for case in run.cases():
                result = results.get(case.sequence)
                if case.work in wanted and result is not None and result.succeeded and not result.done_before:
                    known[case.work] = result.seconds
                    wanted.discard(case.work)
        except SharedenvError:
            continue  # a file of it is gone: it knows nothing
    return known
