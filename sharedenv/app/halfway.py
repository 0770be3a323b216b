"""What earlier runs began and did not bring to a good end: what is there of it says nothing, whatever --creates names."""

from __future__ import annotations

from collections.abc import Iterable

from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.run.case import Case
from sharedenv.run.journal.runs import list_runs

_LOOKED_AT = 20  # runs: reading the results of all that a pool ever had takes its time


def halfway(layout: Layout, cases: Iterable[Case]) -> frozenset[int]:
    """Sequences of the cases of a new run of which one of the last runs left what is not to be trusted."""
    wanted = {case.identity: case.sequence for case in cases}
    found = set()
    for run in list_runs(layout.runs)[:_LOOKED_AT]:
        if not wanted:
            break
        try:
            results = run.results()
            for case in run.each_case() if results else ():
                if case.identity in wanted and (result := results.get(case.sequence)) is not None and not result.unbuilt:
                    sequence = wanted.pop(case.identity)
                    if not result.succeeded:
                        found.add(sequence)
        except SharedenvError:
            continue  # a file of it is gone: it knows nothing
    return frozenset(found)
