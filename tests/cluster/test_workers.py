"""Who has case n, and does he live: one answer for every kind of worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import How, create_array
from sharedenv.cluster.slurm import SlurmTask
from sharedenv.cluster.static import results_of
from sharedenv.cluster.workers import Tasks, ended_in, some_not_begun, some_yet_to_begin, task_in
from sharedenv.pool.owner import Owner, this_process
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import create_run, open_run
from sharedenv.run.journal.sessions import SessionState, share_writer
from sharedenv.run.workers import CaseState, Fate, Processes, Worker, case_state, case_states, may_be_at_work
from tests.cluster.test_slurm_places import array, session

SUCCESS, FAILURE = Result(1, 1, 10.0, status=0), Result(1, 1, 10.0, status=1)
ANN = Worker("ann", 2)


class Claims:
    """Workers that claim what they run, made up: whoever gives cases out by other rules than these fits in like this."""

    def __init__(self, holder: Worker | None, fate: Fate, since: Result | None = None, ever: Result | None = None) -> None:
        self._holder, self._fate, self._since, self._ever = holder, fate, since, ever or since

    def holder(self, _sequence: int, /) -> Worker | None:
        return self._holder

    def fate(self, worker: Worker | None) -> Fate:
        assert worker == self._holder
        return self._fate

    def since(self, _sequence: int, /) -> Result | None:
        return self._since

    def ever(self, _sequence: int, /) -> Result | None:
        return self._ever


LIVES, AT_WORK = Fate(alive=True, reason="its turn will come"), Fate(alive=True, begun={1})
SAID, SILENT = Fate(alive=False, reason="drained", reported=True), Fate(alive=False, reason="no heartbeat for 180 s")


@pytest.mark.parametrize(
    ("workers", "word", "reason", "held"),
    [
        (Claims(ANN, LIVES), "waiting", "its turn will come", True),
        (Claims(ANN, AT_WORK), "running", "", True),
        (Claims(ANN, SAID), "left", "drained", False),
        (Claims(ANN, SILENT), "left", "no heartbeat for 180 s", False),
        (Claims(ANN, replace(SILENT, begun={1})), "interrupted", "no heartbeat for 180 s", False),
        (Claims(ANN, replace(SAID, begun={1})), "interrupted", "drained", False),
        (Claims(None, Fate(alive=False, reason="never claimed", reported=True)), "left", "never claimed", False),
        # an outcome since it was claimed counts, whatever became of the worker
        (Claims(ANN, AT_WORK, since=SUCCESS), "done", "", False),
        (Claims(ANN, SILENT, since=FAILURE), "failed", "", False),
        # one from before says nothing while somebody may try again, and all when nobody will
        (Claims(ANN, LIVES, ever=FAILURE), "waiting", "its turn will come", True),
        (Claims(ANN, AT_WORK, ever=SUCCESS), "running", "", True),
        (Claims(ANN, SAID, ever=FAILURE), "failed", "", False),
        (Claims(ANN, SILENT, ever=SUCCESS), "done", "", False),
        (Claims(None, SAID, ever=SUCCESS), "done", "", False),
        (Claims(ANN, replace(SILENT, begun={1}), ever=FAILURE), "interrupted", "no heartbeat for 180 s", False),
    ],
)
def test_where_a_case_is(workers: Claims, word: str, reason: str, held: bool) -> None:
    state = case_state(1, workers)
    assert (state.word, state.reason, state.held) == (word, reason, held)
    assert state.lost == (reason == SILENT.reason)
    assert state.worker == workers.holder(1)


def make(tmp_path: Path, count: int = 3) -> Run:
    cases = [Case(number, str(tmp_path / f"case{number}/s.py")) for number in range(1, count + 1)]
    return create_run(str(tmp_path / ".sharedenv" / "runs"), cases)


def places(run: Run) -> dict[int, CaseState]:
    return case_states([case.sequence for case in run.cases()], Processes(*run.read()))


def words(run: Run) -> list[str]:
    return [state.word for state in places(run).values()]


def test_a_run_that_nobody_has_begun_is_in_nobodys_hands(tmp_path: Path) -> None:
    assert places(make(tmp_path)) == dict.fromkeys((1, 2, 3), CaseState("left", "nothing was started yet"))


def test_of_a_process_at_work_what_it_began_runs_and_the_rest_waits(tmp_path: Path) -> None:
    run = make(tmp_path, 4)
    at_work = run.begin()
    at_work.append(Result(1, 1, 10.0, status=0))
    at_work.append(Result(2, 1, 10.0, status=1))
    at_work.start(3, os.getpid())
    assert words(run) == ["done", "failed", "running", "waiting"]
    us = Worker("local", 1, this_process())
    assert [state.worker for state in places(run).values()] == [us] * 4
    assert us.host == this_process().host
    at_work.append(Result(3, 1, 11.0, error=INTERRUPTED))
    at_work.close("interrupted")
    assert words(run) == ["done", "failed", "interrupted", "left"]
    assert places(run)[4].reason == "interrupted"


KILLED = """
import os, signal, sys
from sharedenv.run.journal.runs import open_run
session = open_run(*os.path.split(sys.argv[1])).begin(writer=sys.argv[2])
session.start(1, os.getpid())
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill(run: Run, writer: str) -> None:
    """A process that is killed at work on the first case."""
    assert subprocess.run([sys.executable, "-c", KILLED, run.path, writer], check=False).returncode == -signal.SIGKILL


def test_what_a_killed_process_had_is_lost_until_another_takes_it(tmp_path: Path) -> None:
    run = make(tmp_path, 2)
    kill(run, "local")
    assert words(run) == ["interrupted", "left"]
    assert places(run)[2].reason == "its process died without a word"
    following = run.begin()
    assert words(run) == ["waiting", "waiting"]
    assert {state.worker and state.worker.attempt for state in places(run).values()} == {2}
    following.start(2, os.getpid())
    assert words(run) == ["waiting", "running"]
    following.close("drained")
    assert words(run) == ["interrupted", "interrupted"]


def test_shares_side_by_side_have_each_what_they_began(tmp_path: Path) -> None:
    run = make(tmp_path, 3)
    shares = [run.begin(writer=share_writer(number, 2)) for number in (1, 2)]
    for sequence, share in enumerate(shares, 1):
        share.start(sequence, os.getpid())
    assert words(run) == ["running", "running", "waiting"]
    assert [state.worker and state.worker.writer for state in places(run).values()][:2] == ["share-1-of-2", "share-2-of-2"]
    for share in shares:
        share.close("done")


def test_one_share_that_was_killed_leaves_the_other_alive(tmp_path: Path) -> None:
    run = make(tmp_path, 2)
    kill(run, share_writer(1, 2))
    other = run.begin(writer=share_writer(2, 2))
    assert all(state.held for state in places(open_run(*os.path.split(run.path))).values())
    other.close("done")
    assert not any(state.held for state in places(run).values())


def test_a_task_is_a_worker_that_has_yet_to_begin_has_begun_or_begins_again() -> None:
    owner = this_process()
    waits, runs = SlurmTask("101", 1, "PENDING"), SlurmTask("101", 1, "RUNNING", owner.host)
    assert Tasks([array(1)], [], {}, [waits]).holder(1) == Worker("1-1")
    assert Tasks([array(1)], [session()], {}, [runs]).holder(1) == Worker("1-1", 1)
    assert Tasks([array(1)], [session(), session(restarts=1)], {}, [runs]).holder(1) == Worker("1-1r1", 2)
    # requeued: its next start writes under another name, and nobody knows where it will be
    assert Tasks([array(1)], [session(ended="interrupted")], {}, [waits]).holder(1) == Worker("1-1r1")
    assert Tasks([array(1)], [session(running=(1,))], {}, [waits]).fate(Worker("1-1r1")) == Fate(alive=True)
    assert Tasks([array(1)], [], {}, []).holder(2) is None


def test_of_two_arrays_the_last_one_has_a_case() -> None:
    workers = Tasks([array(1, 2), array(2, 3, number=2)], [], {}, None)
    assert [task_in(workers.holder(sequence)) for sequence in (1, 2, 3, 4)] == [(1, 1), (2, 1), (2, 1), None]
    assert task_in(Worker("local")) is None


def test_what_a_share_had_begun_when_it_was_killed_is_lost_with_it(tmp_path: Path) -> None:
    """The other one has ended, and said so; what nobody had begun was in the hands of whoever came last."""
    run = make(tmp_path, 3)
    kill(run, share_writer(1, 2))
    other = run.begin(writer=share_writer(2, 2))
    other.close("drained")
    assert words(run) == ["interrupted", "left", "left"]


def gone(owner: Owner | None, silence: float, ended: str = "") -> SessionState:
    return SessionState("local", 1, owner, 1, 1000.0, (), silence, {}, ended, 0.0, alive=False)


ELSEWHERE = Owner("node7", "another machine", 17, "1")


@pytest.mark.parametrize(
    ("sessions", "age", "may"),
    [
        ([], 10.0, True),  # about to write its first line
        ([], 1000.0, False),
        ([gone(ELSEWHERE, 1000.0)], 9999.0, True),
        ([gone(ELSEWHERE, 4000.0)], 9999.0, False),
        ([gone(ELSEWHERE, 1000.0, "drained")], 9999.0, False),
        ([gone(this_process(), 1000.0)], 9999.0, False),
        ([gone(None, 1000.0)], 9999.0, False),
        ([gone(ELSEWHERE, 4000.0), session()], 9999.0, True),
    ],
)
def test_what_takes_away_from_a_run_wants_more_certainty(sessions: list[SessionState], age: float, may: bool) -> None:
    """A node's clock may differ by minutes, a file's time come late: a minute of silence is enough to go on with a run, no more."""
    assert may_be_at_work(sessions, age) is may


def test_what_has_ended_of_an_array_is_what_its_own_tasks_wrote() -> None:
    interrupted = Result(4, 1, 1.0, error=INTERRUPTED)
    results = {"local": {1: SUCCESS}, "1-1": {1: SUCCESS, 2: SUCCESS}, "2-1": {3: FAILURE, 4: interrupted}, "2-2r1": {2: FAILURE}}
    assert ended_in(results, {1: 1, 2: 2, 3: 2, 4: 2}) == {1: SUCCESS, 2: FAILURE, 3: FAILURE}
    assert ended_in(results, {1: 2}) == {}
    assert list(results_of(results, 2, 2)) == [FAILURE]
    assert list(results_of(results, 1, 2)) == []


def test_what_was_not_begun_since_an_array_was_made(tmp_path: Path) -> None:
    run = make(tmp_path, 2)
    made = create_array(run, 1, run.cases(), 2, How())
    assert some_not_begun(made, {})
    begun = [replace(Result(number, 1, 0.0), session=made.created + 1) for number in (1, 2)]
    assert some_not_begun(made, {1: begun[0], 2: replace(begun[1], session=made.created - 1)})
    assert not some_not_begun(made, dict(enumerate(begun, 1)))
    assert some_yet_to_begin(made, [session(1), session(1, restarts=1), session(2, number=2)])
    assert not some_yet_to_begin(made, [session(1), session(2)])
