"""Where each case stands, from every mixture of what Slurm says and what tasks wrote: the pure part of `status`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping

import pytest

from sharedenv.cluster.arrays import Array, How, Planned, task_of, writer_of
from sharedenv.cluster.slurm import RUNNING, WAITING, SlurmTask
from sharedenv.cluster.static import static_writer
from sharedenv.cluster.workers import Tasks
from sharedenv.run.case import INTERRUPTED, Result
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.workers import CaseState, case_states


def array(*sequences: int, tasks: int = 1, number: int = 1, build: str = "") -> Array:
    cases = tuple(Planned(sequence, "k" * 64, "d" * 64) for sequence in sequences)
    ranges = tuple((sequence, sequence) for sequence in sequences)
    return Array(f"/runs/r/slurm/{number}", cases, tasks, How(), str(100 + number), build, ranges=ranges)


def session(
    task: int = 1, *, number: int = 1, restarts: int = 0, running: tuple[int, ...] = (), ended: str = "", dead: bool = False
) -> SessionState:
    writer = static_writer(number, task, restarts)
    return SessionState(writer, 1, None, 1, 1000.0, (), 1.0, dict.fromkeys(running, 1000.0), ended, 0.0, not ended and not dead)


def result(sequence: int, status: int = 0, *, start: float = 0.0, error: str = "") -> Result:
    return Result(sequence, 1, start, status=status, error=error)


def locate(
    sequences: Iterable[int],
    results: Mapping[str, Mapping[int, Result]],
    sessions: list[SessionState],
    arrays: list[Array],
    tasks: list[SlurmTask] | None,
) -> dict[int, CaseState]:
    return case_states(sequences, Tasks(arrays, sessions, results, tasks))


def words(
    arrays: list[Array],
    results: Mapping[str, Mapping[int, Result]],
    sessions: list[SessionState],
    tasks: list[SlurmTask] | None,
    count: int = 3,
) -> list[str]:
    places = locate(range(1, count + 1), results, sessions, arrays, tasks)
    return [places[sequence].word for sequence in range(1, count + 1)]


@pytest.mark.parametrize("state", sorted(WAITING))
def test_a_task_that_waits(state: str) -> None:
    assert words([array(1, 2, 3)], {}, [], [SlurmTask("101", 1, state)]) == ["waiting"] * 3


@pytest.mark.parametrize("state", sorted(RUNNING))
def test_a_task_at_work(state: str) -> None:
    results = {"1-1": {1: result(1)}}
    assert words([array(1, 2, 3)], results, [session(running=(2,))], [SlurmTask("101", 1, state)]) == ["done", "running", "waiting"]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("NODE_FAIL", "its node failed"),
        ("OUT_OF_MEMORY", "its task ran out of memory"),
        ("TIMEOUT", "its task met its time limit"),
        ("CANCELLED", "its task was cancelled"),
        ("LAUNCH_FAILED", "Slurm says LAUNCH_FAILED of its task"),
        (None, "Slurm no longer knows its task"),
    ],
)
def test_a_task_that_ended_without_a_word(state: str | None, reason: str) -> None:
    """What it was at work on is interrupted, what was yet to come is not run; both are lost."""
    tasks = [] if state is None else [SlurmTask("101", 1, state)]
    results = {"1-1": {1: result(1), 2: result(2, 1)}}
    places = locate([1, 2, 3, 4], results, [session(running=(3,), dead=True)], [array(1, 2, 3, 4)], tasks)
    assert [place.word for place in places.values()] == ["done", "failed", "interrupted", "left"]
    assert [place.lost for place in places.values()] == [False, False, True, True]
    assert places[3].reason == places[4].reason == reason


@pytest.mark.parametrize("state", ["NODE_FAIL", "TIMEOUT", "PENDING", None])
def test_a_fresh_sign_outweighs_what_squeue_says_or_does_not_say(state: str | None) -> None:
    """Slurm holds a node for dead that lives, or it is another cluster's Slurm."""
    tasks = [] if state is None else [SlurmTask("101", 1, state)]
    at_work = "waiting" if state == "PENDING" else "running"
    assert words([array(1, 2, 3)], {"1-1": {1: result(1)}}, [session(running=(2,))], tasks) == ["done", at_work, "waiting"]


def test_of_a_requeued_task_both_starts_that_live_have_begun_what_they_have() -> None:
    sessions = [session(running=(1,)), session(restarts=1, ended="done")]
    assert words([array(1, 2, 3)], {"1-1r1": {2: result(2), 3: result(3)}}, sessions, [SlurmTask("101", 1, "COMPLETED")]) == ["running", "done", "done"]


def test_another_cluster_s_array_waits_until_its_tasks_have_said_that_they_end() -> None:
    sessions = [session(1, dead=True), session(2, ended="drained")]
    workers = Tasks([array(1, 2, 3, tasks=3)], sessions, {}, [], {"/runs/r/slurm/1": "it was submitted to cluster A"})
    assert [case_states([1, 2, 3], workers)[sequence].word for sequence in (1, 2, 3)] == ["waiting", "left", "waiting"]
    assert case_states([3], workers)[3].reason == "it was submitted to cluster A"


@pytest.mark.parametrize(
    ("ended", "state", "reason"),
    [
        ("drained", "FAILED", "its task started nothing more"),
        ("interrupted", "FAILED", "its task was ended"),
        ("interrupted", "TIMEOUT", "its task met its time limit"),
        ("interrupted", "CANCELLED", "its task was cancelled"),
        ("drained", None, "its task started nothing more"),
        ("drained: SIGUSR1: starting nothing more", None, "its task started nothing more: SIGUSR1"),
        ("drained: a script failed: starting nothing more (--fail-fast)", "FAILED",
         "its task started nothing more: a script failed (--fail-fast)"),
        ("ended: no environment", "FAILED", "its task ended: no environment"),
    ],
)
def test_a_task_that_said_that_it_ends(ended: str, state: str | None, reason: str) -> None:
    results = {"1-1": {1: result(1), 2: result(2, -1, error=INTERRUPTED)}}
    places = locate([1, 2, 3], results, [session(ended=ended)], [array(1, 2, 3)], [SlurmTask("101", 1, state)] if state else [])
    assert [place.word for place in places.values()] == ["done", "interrupted", "left"]
    assert places[2].reason == places[3].reason == reason
    assert not places[2].lost


def test_what_an_earlier_start_or_array_had_begun_stays_interrupted() -> None:
    """Its folder holds half of what it writes, until somebody brings it to an end."""
    sessions = [session(running=(1,), dead=True), session(restarts=1, ended="drained")]
    assert words([array(1, 2)], {}, sessions, [SlurmTask("101", 1, "FAILED")], count=2) == ["interrupted", "left"]
    arrays = [array(1, 2), array(1, 2, number=2)]
    tasks = [SlurmTask("101", 1, "TIMEOUT"), SlurmTask("102", 1, "PENDING")]
    assert words(arrays, {}, [session(running=(1,), dead=True)], tasks, count=2) == ["waiting", "waiting"]
    tasks = [SlurmTask("101", 1, "TIMEOUT"), SlurmTask("102", 1, "CANCELLED")]
    assert words(arrays, {}, [session(running=(1,), dead=True)], tasks, count=2) == ["interrupted", "left"]
    here = {"local": {1: result(1, start=2000.0)}}
    assert words(arrays, here, [session(running=(1,), dead=True)], tasks, count=2) == ["done", "left"]


def test_a_second_try_that_is_cut_off_is_interrupted() -> None:
    tried = {"1-1": {1: result(1, 1, start=900.0)}}
    assert words([array(1, 2)], tried, [session(running=(1,))], [SlurmTask("101", 1, "RUNNING")], count=2) == ["running", "waiting"]
    assert words([array(1, 2)], tried, [session(running=(1,), dead=True)], [SlurmTask("101", 1, "TIMEOUT")], count=2) == ["interrupted", "left"]


def test_a_task_cancelled_before_it_began() -> None:
    assert words([array(1, 2, 3)], {}, [], [SlurmTask("101", 1, "CANCELLED")]) == ["left"] * 3


def test_an_array_whose_build_failed() -> None:
    tasks = [SlurmTask("101", 1, "CANCELLED"), SlurmTask("90", None, "FAILED")]
    places = locate([1], {}, [], [array(1, build="90")], tasks)
    assert places[1].word == "left"
    assert places[1].reason.endswith("failed: see /runs/r/slurm/1/build-90.out")
    places = locate([1], {}, [], [array(1, build="90")], [tasks[0], SlurmTask("90", None, "CANCELLED")])
    assert (places[1].word, places[1].reason) == ("left", "the job that builds for it was cancelled")


def test_tasks_share_the_cases_by_strides() -> None:
    tasks = [SlurmTask("101", 1, "NODE_FAIL"), SlurmTask("101", 2, "PENDING")]
    assert words([array(1, 2, 3, tasks=2)], {}, [], tasks) == ["left", "waiting", "left"]


def test_the_last_start_of_a_task_speaks_for_it() -> None:
    sessions = [session(restarts=1, running=(2,)), session(ended="drained")]
    assert words([array(1, 2, 3)], {}, sessions, [SlurmTask("101", 1, "RUNNING")]) == ["waiting", "running", "waiting"]


def test_a_later_array_speaks_for_its_cases() -> None:
    """A failure counts no more while the case is about to be tried again, and again when it never was."""
    arrays = [array(1, 2, 3), array(2, 3, number=2)]
    results = {"1-1": {1: result(1), 2: result(2, 1), 3: result(3, 1)}}
    sessions = [session(ended="done")]
    ended = SlurmTask("101", 1, "FAILED")
    assert words(arrays, results, sessions, [ended, SlurmTask("102", 1, "PENDING")]) == ["done", "waiting", "waiting"]
    assert words(arrays, results, sessions, [ended, SlurmTask("102", 1, "CANCELLED")]) == ["done", "failed", "failed"]
    results["2-1"] = {2: result(2, start=5.0)}
    assert words(arrays, results, sessions, [ended, SlurmTask("102", 1, "NODE_FAIL")]) == ["done", "done", "failed"]


def test_a_case_rerun_here_counts() -> None:
    """`sharedenv run --resume` after an array: the last result speaks."""
    results = {"1-1": {1: result(1, 1)}, "local": {1: result(1, start=9.0), 2: result(2, 1, start=9.0)}}
    assert words([array(1)], results, [session(ended="done")], [], count=3)[1:] == ["failed", "left"]


def test_what_was_run_here_after_the_array_counts_in_its_place() -> None:
    """`sharedenv run --retry-failed` over what an array had failed; a later array's result counts in place of that."""
    results = {"1-1": {1: result(1, 1, start=1.0), 2: result(2, start=1.0)}, "local": {1: result(1, start=9.0), 2: result(2, 1, start=9.0)}}
    assert words([array(1, 2)], results, [session(ended="done")], [SlurmTask("101", 1, "FAILED")], count=2) == ["done", "failed"]
    results["2-1"] = {2: result(2, start=12.0)}
    arrays = [array(1, 2), array(2, number=2)]
    assert words(arrays, results, [session(ended="done")], [SlurmTask("102", 1, "COMPLETED")], count=2) == ["done", "done"]


def test_without_an_answer_of_squeue_the_files_speak() -> None:
    sessions = [session(1, running=(1,)), session(2, ended="drained")]
    assert words([array(1, 2, 3, tasks=3)], {}, sessions, None) == ["running", "left", "waiting"]


@pytest.mark.parametrize(("task", "restarts"), [(1, 0), (12, 3)])
def test_names_of_writers_read_back(task: int, restarts: int) -> None:
    assert task_of(static_writer(7, task, restarts)) == (7, task, restarts)
    assert task_of(writer_of(7, task, restarts) + "3f09ab") == (7, task, restarts)


@pytest.mark.parametrize("writer", ["local", "", "-1", "1-", "a-1", "17", "worker.3f09", "worker.1.3f09", "worker.1.2"])
def test_other_writers_are_no_tasks(writer: str) -> None:
    assert task_of(writer) is None


@pytest.mark.parametrize("module", ["worker", "task"])
def test_a_task_loads_nothing_that_it_does_not_need(module: str) -> None:
    """It starts many times, on many nodes at once."""
    heavy = {"click", "packaging", "filelock", "tomli", "rich", "tarfile", "uv", "statistics"}
    code = f"import sys, sharedenv.cli.{module}; print(*(set(sys.modules) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
