"""Whether another run has the same cases at work: two processes in one folder mix what they write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sharedenv.app.guards import beside, refuse_living
from sharedenv.app.recorder import Teller
from sharedenv.app.work import Work
from sharedenv.errors import SharedenvError
from sharedenv.report.words import count
from sharedenv.run.case import Case
from sharedenv.run.journal.living import living_runs, unended
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import open_run


class Beside:
    """Looks for other runs at work on cases: before a run begins and, since another may begin at the same moment, once it can
    be seen itself. Of two that look so, one sees the other; where both do, neither goes on.
    """

    def __init__(self, runs: str, cases: Iterable[Case], tell: Teller, *, insist: bool = False) -> None:
        self._insist = insist
        self._runs = runs
        self._cases = cases
        self._tell = tell
        self._looked_at: set[str] = set()

    def look(self, own: str = "") -> None:
        """Looks at the unended runs but one's ``own``, each once, and at those that workers had. Raises as check_beside."""
        for name in (*unended(self._runs), *living_runs(self._runs)):
            if name != own and name not in self._looked_at:
                self._looked_at.add(name)
                check_beside(self._runs, name, self._cases, self._tell, insist=self._insist)

    def begun(self, journal: Run) -> None:
        """Looks again, now that others can see this run, of which nothing is left where one of them has its cases."""
        try:
            self.look(journal.id)
        except SharedenvError:
            import shutil  # noqa: PLC0415 - runs that meet are rare

            shutil.rmtree(journal.path, ignore_errors=True)
            raise


def look_beside(work: Work, tell: Teller, environ: Mapping[str, str], *, insist: bool, share: bool = False) -> Beside | None:
    """Refuses what a run that lives has of what is to be begun (SharedenvError); who looks again once it has begun.

    None for what goes on with a run, and for a ``share``: others of its own run live beside it.
    """
    if not insist:
        refuse_living(work.layout, work.cases, environ, work.run.id if work.run else None)
        if living_runs(work.layout.runs):
            from sharedenv.app.queued import refuse_waiting  # noqa: PLC0415 - no workers live, most times

            refuse_waiting(work, environ)
    if work.run is not None or share:
        return None
    found = Beside(work.layout.runs, work.cases, tell, insist=insist)
    found.look()
    return found


def check_beside(runs: str, name: str, cases: Iterable[Case], tell: Teller, *, insist: bool) -> None:
    """Whether another run (its name, below ``runs``) has these cases at work. Raises SharedenvError when it has, or when they outlived
    it: two processes in one folder mix. Who does ``insist`` is only told of a run that lives.
    """
    from sharedenv.run.outlived import refuse_leftover, without_result  # noqa: PLC0415 - the last run has ended, most times
    from sharedenv.run.workers import Processes, case_state  # noqa: PLC0415 - as above

    wanted = {case.identity for case in cases}
    try:
        other = open_run(runs, name)
        results, sessions = other.read()
        common = without_result((case for case in other.each_case() if case.identity in wanted), results)
    except SharedenvError:
        return  # a run whose files are gone says nothing
    refuse_leftover(other.id, sessions, common)
    workers = Processes(results, sessions)
    held = [state for case in common if (state := case_state(case.sequence, workers)).held]
    if held and (worker := held[0].worker) is not None and worker.owner is not None:
        where = f"process {worker.owner.pid} on {worker.host}"
        if not insist:
            raise beside(other.id, len(held), f"{where} is at work on it", "status")
        tell.warn(f"run {other.id} ({where}) runs {count(len(held), 'script')} of these as well, in the same folders")
