"""Which cases go on in the next rung, and why: of what the run's files and Slurm say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import Array, How
from sharedenv.cluster.rising import Evidence, mark, rising
from sharedenv.cluster.rungs import Allowance, Rung, ladder_of, read_taken, rung_of
from sharedenv.cluster.sbatch import seconds
from sharedenv.cluster.slurm import SlurmTask
from sharedenv.errors import SharedenvError
from sharedenv.run.case import INTERRUPTED, Result
from sharedenv.run.journal.sessions import SessionState

HOUR = 3600.0
LADDER = (Allowance("4G", "1:00:00"), Allowance("8G", "1:00:00"), Allowance("8G", "4:00:00"))
FIRST, AGAIN = "worker.1.1.aa", "worker.1.1r1.bb"


def session(writer: str = FIRST, *running: int, ended: str = "done", alive: bool = False, since: float = 100.0) -> SessionState:
    """One that began at 100.0; what it runs it began at ``since``."""
    return SessionState(writer, 1, None, 2, 100.0, (), 1.0, dict.fromkeys(running, since), ended, 0.0, alive)


def result(sequence: int, *, seconds: float = 10.0, status: int = -1, signal: int = 0, error: str = "", attempt: int = 1) -> Result:
    return Result(sequence, attempt, 200.0 + attempt, seconds, status=status, signal=signal, error=error)


def cut_off(sequence: int, seconds: float) -> Result:
    return result(sequence, seconds=seconds, error=INTERRUPTED)


def killed(sequence: int, attempt: int = 1) -> Result:
    return result(sequence, signal=9, attempt=attempt)


class Ladder:
    """A run of three rungs: four cases in two tasks of the first, of which the second has begun nothing."""

    def __init__(self, folder: Path, *, ladder: tuple[Allowance, ...] = LADDER) -> None:
        self.arrays = []
        for place, limits in enumerate(ladder, 1):
            path = folder / "slurm" / str(place)
            path.mkdir(parents=True)
            ranges = ((1, 4),) if place == 1 else ()
            self.arrays.append(Array(str(path), (), 2, How(), str(10 * place), ranges=ranges, rung=Rung(place, 3, 1, 60, limits)))
        self.path = folder / "slurm" / "1"

    def rising(
        self, state: str | None, results: Mapping[str, list[Result]], *sessions: SessionState, other: str | None = "COMPLETED", again: tuple[int, ...] = ()
    ) -> dict[int, tuple[int, str]]:
        """To which rung each case goes, and why, where Slurm says so of the two tasks; None: it has forgotten one."""
        queue = {("10", task): SlurmTask("10", task, word) for task, word in ((1, state), (2, other)) if word is not None}
        own = {writer: {one.sequence: one for one in some} for writer, some in results.items()}
        found = rising(Evidence(self.arrays, sessions or (session(),), own, queue), again)
        return {sequence: (above.number, why) for sequence, (above, why) in found.items()}


DONE = [result(sequence, status=0) for sequence in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("state", "last", "goes"),
    [
        ("OUT_OF_MEMORY", killed(4), (2, "memory")),
        ("OUT_OF_MEMORY", result(4, status=137), (2, "memory")),  # as a launcher says it
        ("OUT_OF_MEMORY", result(4, status=1), None),  # failed by itself
        ("OUT_OF_MEMORY", result(4, signal=11), None),
        ("OUT_OF_MEMORY", result(4, error="timed out after 10 s"), None),
        ("FAILED", killed(4), None),  # by its own hand, or somebody's
        (None, killed(4), None),
        ("OUT_OF_MEMORY", cut_off(4, 10.0), (2, "memory")),
        ("TIMEOUT", cut_off(4, 0.91 * HOUR), (3, "time")),  # the second has no more time
        ("TIMEOUT", cut_off(4, 0.89 * HOUR), (2, "rest")),
        ("TIMEOUT", killed(4), None),
        ("CANCELLED", cut_off(4, 0.95 * HOUR), None),
        ("PREEMPTED", cut_off(4, 0.95 * HOUR), None),
        ("COMPLETED", cut_off(4, 0.95 * HOUR), None),
    ],
)
def test_why_a_case_goes_on(state: str | None, last: Result, goes: tuple[int, str] | None, tmp_path: Path) -> None:
    found = Ladder(tmp_path).rising(state, {FIRST: [*DONE[:3], last]})
    assert found == ({} if goes is None else {4: goes})


def test_all_that_were_killed_at_once_go_on(tmp_path: Path) -> None:
    """The worker and what it ran: nobody has said anything. Where Slurm holds the node for dead, they may live."""
    silent = session(FIRST, 3, 4, ended="")
    assert Ladder(tmp_path / "1").rising("OUT_OF_MEMORY", {FIRST: DONE[:2]}, silent) == {3: (2, "memory"), 4: (2, "memory")}
    assert Ladder(tmp_path / "2").rising("NODE_FAIL", {FIRST: DONE[:2]}, silent) == {}
    assert Ladder(tmp_path / "3").rising(None, {FIRST: DONE[:2]}, silent) == {}
    assert Ladder(tmp_path / "4").rising("FAILED", {FIRST: DONE[:2]}, silent) == {}


def test_a_fresh_sign_is_no_life_where_slurm_has_seen_the_end(tmp_path: Path) -> None:
    """The next rung begins at once; a node's last heartbeat is fresh for minutes."""
    silent = session(FIRST, 4, ended="", alive=True)
    assert Ladder(tmp_path / "1").rising("OUT_OF_MEMORY", {FIRST: DONE[:3]}, silent) == {4: (2, "memory")}
    assert Ladder(tmp_path / "2").rising("RUNNING", {FIRST: DONE[:3]}, silent) == {}


@pytest.mark.parametrize(("since", "goes"), [(150.0, (3, "time")), (1000.0, (2, "rest"))])
def test_a_worker_that_the_limit_killed_without_a_word(since: float, goes: tuple[int, str], tmp_path: Path) -> None:
    assert Ladder(tmp_path).rising("TIMEOUT", {FIRST: DONE[:3]}, session(FIRST, 4, ended="", since=since)) == {4: goes}


@pytest.mark.parametrize(
    ("state", "other", "goes"),
    [
        ("TIMEOUT", "COMPLETED", True),
        ("OUT_OF_MEMORY", None, True),
        ("COMPLETED", "OUT_OF_MEMORY", True),
        ("FAILED", "COMPLETED", False),  # a broken node, a full disk: what is left is for who mends it
        ("TIMEOUT", "RUNNING", False),  # it will begin them
        ("TIMEOUT", "PENDING", False),
        ("TIMEOUT", "CANCELLED", False),  # somebody wanted an end
    ],
)
def test_what_nobody_has_begun_goes_on_where_limits_ended_the_tasks(state: str, other: str | None, goes: bool, tmp_path: Path) -> None:
    found = Ladder(tmp_path).rising(state, {FIRST: DONE[:2]}, other=other)
    assert found == (dict.fromkeys((3, 4), (2, "rest")) if goes else {})


def test_who_works_on_the_list_by_hand_keeps_what_is_left(tmp_path: Path) -> None:
    by_hand = session("worker.1.cc", 3, ended="", alive=True)
    assert Ladder(tmp_path).rising("TIMEOUT", {FIRST: DONE[:2]}, session(), by_hand) == {}


@pytest.mark.parametrize(("why", "last", "goes"), [("memory", killed(4), (2, "memory")), ("time", cut_off(4, 0.95 * HOUR), (3, "time"))])
def test_what_slurm_has_forgotten_the_task_has_noted(why: str, last: Result, goes: tuple[int, str], tmp_path: Path) -> None:
    ladder = Ladder(tmp_path)
    (ladder.path / mark(why, 1, 0)).touch()
    assert ladder.rising(None, {FIRST: [*DONE[:3], last]}, other=None) == {4: goes}
    (ladder.path / mark(why, 1, 0)).rename(ladder.path / mark(why, 1, 1))  # that of another start
    assert ladder.rising(None, {FIRST: [*DONE[:3], last]}, other=None) == {}


def test_a_note_is_no_proof_of_death(tmp_path: Path) -> None:
    """Its node was held for dead just then, so that what it runs may live."""
    ladder = Ladder(tmp_path)
    (ladder.path / mark("memory", 1, 0)).touch()
    assert ladder.rising("NODE_FAIL", {FIRST: DONE[:3]}, session(FIRST, 4, ended="")) == {}
    assert ladder.rising(None, {FIRST: DONE[:3]}, session(FIRST, 4, ended="")) == {}
    assert ladder.rising("OUT_OF_MEMORY", {FIRST: DONE[:3]}, session(FIRST, 4, ended="")) == {4: (2, "memory")}


def test_slurm_speaks_of_the_last_start_of_a_task(tmp_path: Path) -> None:
    """The first was put back into the queue: what was ended with it had its time from another."""
    results = {FIRST: [cut_off(4, 0.95 * HOUR)], AGAIN: DONE[:3]}
    assert Ladder(tmp_path).rising("TIMEOUT", results, session(ended="interrupted"), session(AGAIN)) == {}


def test_the_last_attempt_decides(tmp_path: Path) -> None:
    other = "worker.1.2.dd"
    results = {FIRST: [*DONE[:3], killed(4, attempt=1)], other: [result(4, status=1, attempt=2)]}
    assert Ladder(tmp_path / "1").rising("OUT_OF_MEMORY", results, session(), session(other)) == {}
    results = {FIRST: [*DONE[:3], result(4, status=1, attempt=1)], other: [killed(4, attempt=2)]}
    found = Ladder(tmp_path / "2").rising("OUT_OF_MEMORY", results, session(), session(other), other="OUT_OF_MEMORY")
    assert found == {4: (2, "memory")}
    results = {FIRST: [*DONE[:3], killed(4, attempt=2)], other: [DONE[3]]}  # by a clock that is late
    assert Ladder(tmp_path / "3").rising("OUT_OF_MEMORY", results, session(), session(other)) == {}


def test_a_further_try_that_nobody_could_make_is_left(tmp_path: Path) -> None:
    results = {FIRST: [*DONE[:3], result(4, status=1)]}
    assert Ladder(tmp_path / "1").rising("TIMEOUT", results, again=(4,)) == {4: (2, "rest")}
    assert Ladder(tmp_path / "2").rising("FAILED", results, again=(4,)) == {}


def test_where_the_next_has_no_more_of_it_nothing_goes_on(tmp_path: Path) -> None:
    """It would meet the same end."""
    flat = (LADDER[0], LADDER[0], LADDER[0])
    assert Ladder(tmp_path / "1", ladder=flat).rising("OUT_OF_MEMORY", {FIRST: [*DONE[:3], killed(4)]}) == {}
    assert Ladder(tmp_path / "2", ladder=flat).rising("TIMEOUT", {FIRST: [*DONE[:3], cut_off(4, HOUR)]}) == {}
    assert Ladder(tmp_path / "3", ladder=flat).rising("TIMEOUT", {FIRST: [*DONE[:3], cut_off(4, 9.0)]}) == {4: (2, "rest")}


def test_what_was_submitted_anew_meanwhile_is_the_other_s(tmp_path: Path) -> None:
    ladder = Ladder(tmp_path)
    folder = tmp_path / "slurm" / "4"
    folder.mkdir()
    ladder.arrays.append(Array(str(folder), (), 1, How(), "40", ranges=((4, 4),)))
    assert ladder.rising("OUT_OF_MEMORY", {FIRST: [*DONE[:2], killed(3), killed(4)]}) == {3: (2, "memory")}


@pytest.mark.parametrize(
    ("memory", "time", "rungs"),
    [
        ("4G", None, ["4G"]),
        (None, None, [""]),
        ("4G,8G,16G", "1:00:00,4:00:00", ["4G, 1:00:00", "8G, 4:00:00", "16G, 4:00:00"]),
        ("4G", "30,2-0,UNLIMITED", ["4G, 30", "4G, 2-0", "4G, UNLIMITED"]),
        ("900M, 1G,0", None, ["900M", "1G", "0"]),
        ("4000,4G,1T", "60", ["4000, 60", "4G, 60", "1T, 60"]),
        ("4G,4G", None, ["4G", "4G"]),
    ],
)
def test_of_the_option_with_fewer_values_the_last_stands_for_the_rest(memory: str | None, time: str | None, rungs: list[str]) -> None:
    assert [rung.text for rung in ladder_of(memory, time)] == rungs


@pytest.mark.parametrize(
    ("memory", "time", "said"),
    [
        ("8G,4G", None, "--mem goes down from 8G to 4G"),
        ("0,4G", None, "--mem goes down from 0 to 4G"),
        (None, "2:00:00,60", "--time goes down from 2:00:00 to 60"),
        (None, "UNLIMITED,60", "--time goes down from UNLIMITED to 60"),
        ("4G,", None, "--mem 4G,: an empty value is none of its values"),
        ("4G,viel", None, "--mem 4G,viel: viel is none of its values"),
        (None, "1h,4h", "--time 1h,4h: 1h is none of its values"),
    ],
)
def test_values_that_lead_nowhere_are_refused(memory: str | None, time: str | None, said: str) -> None:
    with pytest.raises(SharedenvError) as caught:
        ladder_of(memory, time)
    assert caught.value.message == said and caught.value.exit_code == 2


def test_a_rung_is_read_as_it_was_written(tmp_path: Path) -> None:
    rung = Rung(2, 3, 4, 60, LADDER[1])
    assert rung_of(rung.record()) == rung and list(rung.arrays) == [4, 5, 6]
    assert read_taken(str(tmp_path)) is None
    assert LADDER[2].seconds == seconds("4:00:00") == 4 * HOUR
