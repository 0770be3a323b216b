"""Where each case of an array of joins stands, from every mixture of what Slurm says and what workers wrote. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import Array, How, create_array, open_array, writer_of
from sharedenv.cluster.slurm import SlurmTask
from sharedenv.cluster.workers import Tasks, ended_in
from sharedenv.errors import SharedenvError
from sharedenv.pool.owner import this_process
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.journal.runs import create_run
from sharedenv.run.journal.sessions import WORKER, SessionState, list_number
from sharedenv.run.lost import refuse_lost
from sharedenv.run.workers import CaseState, case_states


def array(first: int, last: int, *, tasks: int = 2, number: int = 1) -> Array:
    return Array(f"/runs/r/slurm/{number}", (), tasks, How(), str(100 + number), ranges=((first, last),), keys=("k" * 64,))


def session(
    task: int, running: Collection[int] = (), *, ended: str = "", dead: bool = False, restarts: int = 0, number: int = 1, began: float = 900.0
) -> SessionState:
    """Of a task; 0: of who joined by hand."""
    writer = (writer_of(number, task, restarts) if task else f"{WORKER}{number}.") + "3f09"
    alive = not ended and not dead
    return SessionState(writer, 1, None, 1, 1000.0, (), 1.0, dict.fromkeys(running, 1000.0), ended, 0.0, alive, began=began)


def result(sequence: int, status: int = 0, *, attempt: int = 1, start: float = 990.0, error: str = "", session: float = 900.0) -> Result:
    return Result(sequence, attempt, start, status=status, error=error, session=session)


def places(
    sessions: list[SessionState],
    queue: list[SlurmTask] | None,
    results: Mapping[str, Mapping[int, Result]] | None = None,
    arrays: list[Array] | None = None,
    again: Collection[int] = (),
) -> dict[int, CaseState]:
    return case_states(range(1, 5), Tasks(arrays or [array(1, 4)], sessions, results or {}, queue, again=again))


def words(*given: object, **more: object) -> list[str]:
    return [state.word for state in places(*given, **more).values()]  # type: ignore[arg-type]  # of many types by name


def queue(*states: str) -> list[SlurmTask]:
    return [SlurmTask("101", number, state, reason="Priority" if state == "PENDING" else "") for number, state in enumerate(states, 1)]


def test_what_nobody_has_begun_waits_as_long_as_a_task_may_come() -> None:
    found = places([], queue("PENDING", "PENDING"))
    assert {(state.word, state.reason) for state in found.values()} == {("waiting", "Priority")}
    found = places([session(1, [1])], queue("RUNNING", "PENDING"))
    assert [state.word for state in found.values()] == ["running", "waiting", "waiting", "waiting"]
    assert found[2].reason == ""
    assert words([session(1, ended="done")], queue("COMPLETED", "PENDING")) == ["waiting"] * 4


@pytest.mark.parametrize("says", [[], None, queue("NODE_FAIL", "FAILED")])
def test_who_gives_signs_has_the_list_whatever_slurm_says(says: list[SlurmTask] | None) -> None:
    """A task that Slurm holds for dead, and who has joined by hand."""
    for task in (1, 0):
        assert words([session(task, [1])], says) == ["running", "waiting", "waiting", "waiting"]


def test_without_an_answer_of_squeue_tasks_may_come_until_all_have_said_that_they_end() -> None:
    assert words([session(1, ended="done")], None) == ["waiting"] * 4
    assert words([session(1, ended="done"), session(2, ended="drained: SIGTERM")], None) == ["left"] * 4


def test_what_is_left_has_the_reason_of_most_tasks_that_did_not_end_well() -> None:
    sessions = [session(1, ended="done"), session(2, ended="drained: SIGTERM: starting nothing more"), session(3, [1], dead=True)]
    found = places(sessions, queue("COMPLETED", "FAILED", "TIMEOUT", "TIMEOUT"), arrays=[array(1, 4, tasks=4)])
    assert [state.word for state in found.values()] == ["interrupted", "left", "left", "left"]
    assert {state.reason for state in found.values()} == {"its task met its time limit"}
    assert all(state.lost for state in found.values())
    found = places(sessions[:2], queue("COMPLETED", "FAILED"))
    assert {(state.word, state.reason, state.lost) for state in found.values()} == {
        ("left", "its task started nothing more: SIGTERM, as comes near the time limit", False)
    }


def test_a_case_is_told_by_the_task_that_has_begun_it() -> None:
    cut_off = {session(2).writer: {2: result(2, -1, error=INTERRUPTED)}}
    sessions = [session(1, [1], dead=True), session(2, ended="interrupted")]
    found = places(sessions, queue("NODE_FAIL", "CANCELLED", "RUNNING"), cut_off, [array(1, 4, tasks=3)])
    assert [state.word for state in found.values()] == ["interrupted", "interrupted", "waiting", "waiting"]
    assert [found[1].reason, found[2].reason] == ["its node failed", "its task was cancelled"]
    assert [found[1].lost, found[2].lost] == [True, False]


def test_a_failure_that_is_to_be_tried_again_is_nobody_elses() -> None:
    failed = {session(1).writer: {1: result(1, 1)}}
    assert words([session(1)], queue("RUNNING", "RUNNING"), failed) == ["failed", "waiting", "waiting", "waiting"]
    assert words([session(1)], queue("RUNNING", "RUNNING"), failed, again=[1]) == ["waiting"] * 4
    assert words([session(1, ended="drained: x")], queue("FAILED", "FAILED"), failed, again=[1])[0] == "failed"


def test_what_ended_with_a_requeued_task_waits_for_it_and_what_it_kept_silent_about_does_not() -> None:
    first = session(1, [2], ended="interrupted")
    results = {first.writer: {1: result(1, -1, error=INTERRUPTED)}}
    assert words([first], queue("PENDING", "COMPLETED"), results) == ["waiting", "interrupted", "waiting", "waiting"]
    assert words([first, session(1, restarts=1)], queue("RUNNING", "COMPLETED"), results)[:2] == ["waiting", "interrupted"]
    assert words([first, session(1, restarts=1, ended="done")], queue("COMPLETED", "COMPLETED"), results)[:2] == ["interrupted"] * 2


def test_a_later_list_counts_though_its_attempts_are_counted_anew() -> None:
    arrays = [array(1, 4), array(1, 2, number=2)]
    results = {
        session(1).writer: {1: result(1, 1, attempt=3), 2: result(2, 1, attempt=3), 3: result(3), 4: result(4)},
        session(1, number=2).writer: {1: result(1, start=1990.0, session=1900.0)},
    }
    sessions = [session(1, ended="done"), session(1, number=2, ended="done", began=1900.0)]
    assert words(sessions, [*queue("FAILED", "FAILED"), SlurmTask("102", 1, "PENDING")], results, arrays) == ["done", "waiting", "done", "done"]
    assert words(sessions, [*queue("FAILED", "FAILED"), SlurmTask("102", 1, "CANCELLED")], results, arrays) == ["done", "failed", "done", "done"]


@pytest.mark.parametrize(
    ("state", "dead"), [("TIMEOUT", True), ("CANCELLED", True), (None, True), ("NODE_FAIL", False), ("PENDING", False), ("RUNNING", False)]
)
def test_who_is_dead_by_slurm_s_word(state: str | None, dead: bool) -> None:
    """Not who was on a node that Slurm has lost sight of, nor who was started anew."""
    silent = session(1, [1], dead=True)
    found = Tasks([array(1, 4)], [silent], {}, [] if state is None else queue(state))
    assert (silent.writer in found.dead) == dead
    assert not Tasks([array(1, 4)], [silent], {}, None).dead


def test_an_attempt_after_which_another_follows_is_no_end() -> None:
    results = {session(1).writer: {1: result(1, 1), 2: result(2)}, session(2).writer: {3: result(3, 1, attempt=2)}}
    submitted = dict.fromkeys(range(1, 5), 1)
    assert set(ended_in(results, submitted, tries=2)) == {2, 3}
    assert set(ended_in(results, submitted)) == {1, 2, 3}


@pytest.mark.parametrize(("writer", "number"), [("local", -1), ("1-2", -1), ("worker.3f09", 0), ("worker.12.3f09", 12), ("worker.3.1r2.a", 3)])
def test_the_list_of_a_writer(writer: str, number: int) -> None:
    assert list_number(writer) == number


def test_the_journal_takes_the_later_list_s_word(tmp_path: Path) -> None:
    cases = [Case(number, f"/p/{number}.py", (), "k" * 64, "d" * 64) for number in (1, 2, 3, 5)]
    run = create_run(str(tmp_path / ".sharedenv" / "runs"), cases)
    made = create_array(run, 1, [cases[3], cases[0], cases[1]], 2, How())
    found = open_array(run.path, 1)
    assert found.ranges == made.ranges == ((1, 2), (5, 5)) and found.sequences == [1, 2, 5] and found.keys == ("k" * 64,)
    for writer, status, attempt in (("worker.1.1.a", 1, 3), ("worker.2.1.a", 0, 1)):
        one = run.join(writer, 1, ())
        one.append(Result(1, attempt, 10.0, status=status, host=this_process().host))
        one.close("done")
    assert run.results()[1].succeeded


def test_who_keeps_silent_elsewhere_is_dead_only_by_slurm_s_word(tmp_path: Path) -> None:
    cases = [Case(number, f"/p/{number}.py", (), "k" * 64, "d" * 64) for number in (1, 2)]
    run = create_run(str(tmp_path / ".sharedenv" / "runs"), cases)
    lines = [{"owner": {"host": "node3", "machine": "x", "pid": 1, "start": "1"}, "jobs": 1}, {"started": [[1, 99]], "time": 1.0}]
    path = Path(run.path, "results-worker.1.1.a.1.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.utime(path, (1.0, 1.0))
    with pytest.raises(SharedenvError, match="may still be at work elsewhere") as refused:
        refuse_lost(run, run.sessions(), cases, (), "submit")
    assert "sharedenv submit --resume" in str(refused.value.hint) and "/p/1.py" in str(refused.value.cause)
    refuse_lost(run, run.sessions(), cases, {"worker.1.1.a"}, "submit")
