"""Which cases of an earlier run are to run again, and which run is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sharedenv.errors import SharedenvError
from sharedenv.run.case import Case, Identity, Result
from sharedenv.run.journal.run import Run
from sharedenv.values import frozen


@frozen
class Choice:
    """Of the cases asked for: those to run, those of them that had succeeded but whose script has changed, and how many rest."""

    cases: tuple[Case, ...]
    changed: tuple[Case, ...]
    resting: int


def choose(cases: Iterable[Case], earlier: Mapping[Identity, tuple[Result, str]], *, failed_only: bool) -> Choice:
    """What `--resume` runs: all that has not succeeded with the script as it is now; ``failed_only``: what failed.

    earlier  last result of each case by its identity, with the digest of the script as it ran
    """
    chosen: list[Case] = []
    changed: list[Case] = []
    resting = 0
    for case in cases:
        result, digest = earlier.get(case.identity, (None, ""))
        if result is None or result.interrupted:
            wanted = not failed_only
        elif not result.succeeded:
            wanted = True
        else:
            wanted = not failed_only and digest != case.digest
            if wanted:
                changed.append(case)
        if wanted:
            chosen.append(case)
        else:
            resting += 1
    return Choice(tuple(chosen), tuple(changed), resting)


def outcomes(cases: Iterable[Case], results: Mapping[int, Result]) -> dict[Identity, tuple[Result, str]]:
    """The last result of each case of a run by its identity, with the digest of the script as it ran."""
    return {
        case.identity: (result, result.digest or case.digest)
        for case in cases
        if (result := results.get(case.sequence)) is not None
    }


def has_words(run: Run, case: Case, arguments: tuple[str, ...] | None) -> bool:
    """Whether a case of a run was given these words (None: whatever it was given): those of a row, before they were filled in."""
    return arguments in (None, case.arguments) or (case.row is not None and arguments == run.asked.arguments)


def find_run(runs: Iterable[Run], scripts: Iterable[str], arguments: tuple[str, ...] | None = None) -> Run | None:
    """The run to go on with: the newest that holds every script (with these arguments), else the one that holds most.

    ``runs`` are given newest first; ``arguments`` None: whatever it gave them.
    """
    asked = set(scripts)

    def held(run: Run) -> int:
        return len({case.script for case in run.each_case() if has_words(run, case, arguments)} & asked)

    return find_most(runs, held, len(asked))


def find_most(runs: Iterable[Run], held: Callable[[Run], int], asked: int) -> Run | None:
    """Of some runs, newest first, the first that holds all of what is asked for, else the one that holds most of it: a later run over a
    few must not make the others look new.
    """
    best: tuple[int, Run] | None = None
    for run in runs:
        if best is not None and run.count <= best[0]:
            continue
        try:
            has = held(run)
        except SharedenvError:
            continue  # one whose files are gone is none to go on with
        if has == asked:
            return run
        if has and (best is None or has > best[0]):
            best = (has, run)
    return best[1] if best else None
