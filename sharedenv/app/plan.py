"""A list of cases for workers to join: frozen, in the order in which it is to be worked on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.run.case import Case
from sharedenv.run.downed import downs
from sharedenv.run.journal.choose import Identity
from sharedenv.run.journal.runs import list_runs

_LOOKED_AT = 20  # runs: reading the results of all that a pool ever had takes its time


def longest_first(cases: Sequence[Case], known: Mapping[Identity, float]) -> list[Case]:
    """The cases by how long each took before, the longest first; what is not known comes before all, as it may be longer.

    ``known``: see known_durations.
    """
    return sorted(cases, key=lambda case: -known.get(case.identity, float("inf")))


def known_durations(layout: Layout, cases: Iterable[Case]) -> dict[Identity, float]:
    """Seconds that each of these cases took when it last succeeded, for those of which one of the last runs knows.

    0 for one that took its worker down since: it is to be the last to do so again.
    """
    wanted = {case.identity for case in cases}
    known: dict[Identity, float] = {}
    for run in list_runs(layout.runs)[:_LOOKED_AT]:
        if not wanted:
            break
        try:
            results, sessions = run.read()
            down = downs(sessions)
            for case in run.cases():
                result = results.get(case.sequence)
                if case.identity in wanted and result is not None and (result.succeeded or (result.interrupted and case.sequence in down)):
                    known[case.identity] = result.seconds if result.succeeded else 0.0
                    wanted.discard(case.identity)
        except SharedenvError:
            continue  # a file of it is gone: it knows nothing
    return known
