"""Claims as pure logic: whatever happens to workers at whatever call, each case is begun once."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from sharedenv.run.claims.blocks import FOLDERS, LINKED, CaseBlock, Offer, Token, decode_block, decode_offer, decode_token
from sharedenv.run.claims.claims import last_claim
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.pace import Pace
from sharedenv.run.claims.suspicion import Suspicion
from tests.claims_lab import ORDERS, Lab, MemoryFolder, Simulated, check_twice, pareto, simulate, work


def check(workers: list[Simulated], total: int, fails: dict[int, int]) -> None:
    """Each attempt at each case was begun at most once; those that were not are of workers who died."""
    begun = Counter((begun.position, begun.attempts) for worker in workers for _, begun in worker.begun)
    assert max(begun.values()) == 1, f"begun twice: {[case for case, times in begun.items() if times > 1]}"
    ended = {(one.position, one.attempts) for worker in workers for _, one in worker.finished}
    assert ended <= begun.keys()
    for position in range(total):
        tries = [attempts for where, attempts in begun if where == position]
        died = any(one.position == position for worker in workers if worker.dead for _, one in worker.begun)
        assert tries or died, f"{position} was lost"
        if all(not worker.doom for worker in workers):
            assert sorted(tries) == list(range(fails.get(position, 0) + 1)), f"{position}: {tries}"


@pytest.mark.parametrize("seed", range(60))
def test_each_case_is_begun_once_whoever_dies_or_sleeps_at_whatever_call(seed: int) -> None:
    lab = Lab(seed)
    total = lab.random.randint(1, 60)
    seconds = [lab.random.choice([0.01, 0.2, 2.0, 9.0]) for _ in range(total)]
    fails = {position: lab.random.randint(1, 2) for position in range(total) if lab.random.random() < 0.1}
    workers = [Simulated(lab, f"w{number}", lab.random.randint(1, 4), seconds, fails=fails) for number in range(lab.random.randint(2, 7))]
    for worker in workers[1:]:  # the first sees it through to the end
        worker.doom = lab.random.choice([0.0, 0.003, 0.01, 0.03])
        worker.drowsy = lab.random.choice([0.0, 0.003, 0.01])
    work(lab, workers, lambda number: lab.random.choice([0.0, 0.01, 5.0, 100.0]) * bool(number))
    begun = {begun.position for worker in workers for _, begun in worker.begun}
    died_in_begin = sum(1 for worker in workers if worker.doom)  # killed between the rename and the line that notes it
    assert total - len(begun) <= died_in_begin
    check_twice(workers)
    if not any(worker.doom for worker in workers):
        check(workers, total, fails)


@pytest.mark.parametrize("seed", range(100, 140))
def test_even_who_takes_the_living_for_dead_begins_no_case_twice(seed: int) -> None:
    lab = Lab(seed)
    total = lab.random.randint(10, 60)
    seconds = [lab.random.choice([0.01, 0.2, 2.0]) for _ in range(total)]
    workers = [Simulated(lab, f"w{number}", lab.random.randint(1, 3), seconds, lies=0.3) for number in range(5)]
    for worker in workers[1:]:
        worker.drowsy = 0.01
        worker.naps = (0.01, 0.1, 1.0, 10.0)
    work(lab, workers)
    check(workers, total, {})


def test_names_and_files_are_read_as_they_were_written() -> None:
    block = CaseBlock(7, "worker.3f", 2, 10, 15, 32, 1)
    assert decode_block(block.encode()) == block
    assert decode_token(block.token(3, "worker.77").partition("/")[2]) == Token("worker.3f", 2, 3, "worker.77")
    offer = Offer(Token("worker.3f", 2, 3, "free"), slow=True)
    assert decode_offer(offer.encode()) == offer
    for torn in (b"", b"worker.3f 7", block.encode()[:-1], b"a 1 2 3\n", b"\xff\n", b"worker.3f 1 1 5 5 1 0\n"):
        assert decode_block(torn) is None
        assert decode_offer(torn) is None
    for name in ("", "again-1", "a-b-c-d", "worker.1-2-3", ".nfs000012"):
        assert decode_token(name) is None


def sizes(jobs: int, slots: int, left: int, *seen: float) -> int:
    pace = Pace(jobs)
    for seconds in seen:
        pace.ended(seconds)
    return pace.size(left, slots)


def test_blocks_go_by_time_and_get_small_towards_the_end() -> None:
    assert sizes(4, 16, 400) == 4  # nothing is known yet: one for each slot
    assert sizes(4, 16, 400, *[0.5] * 12) == 24  # three seconds
    assert sizes(4, 16, 400, 0.5) == 8  # one is no measure: the first of a sweep may be its cheapest
    assert sizes(1, 4, 400, *[0.01] * 5) == 10
    assert sizes(4, 16, 100_000, *[0.001] * 4000) == 6250  # a quarter of an even part of what is left
    assert sizes(4, 16, 400, 60.0) == 1
    assert sizes(1, 1000, 3, 0.001) == 1
    assert sizes(1, 4, 400, *[9.0] * 100, *[0.1] * 100) == 25  # what was seen of late


def suspected(jobs: int, ended: list[tuple[float, bool]], elsewhere: list[float]) -> tuple[bool, bool]:
    suspicion = Suspicion(jobs, lambda: elsewhere)
    for seconds, succeeded in ended:
        suspicion.ended(seconds, succeeded=succeeded)
    return suspicion.cautious, suspicion.broken


def test_who_fails_at_once_at_every_script_is_suspected_and_who_has_one_success_is_not() -> None:
    at_once, late = (0.1, False), (6.0, False)
    assert suspected(1, [at_once] * 2, []) == (False, False)
    assert suspected(1, [at_once] * 3, []) == (True, False)
    assert suspected(1, [at_once] * 6, []) == (True, True)
    assert suspected(8, [at_once] * 7, []) == (False, False)
    assert suspected(8, [at_once] * 11, []) == (True, True)
    assert suspected(1, [(0.1, True), *[at_once] * 20], []) == (False, False)
    assert suspected(1, [*[at_once] * 4, (0.1, True), *[at_once] * 20], []) == (False, False)
    assert suspected(1, [at_once, late, *[at_once] * 20], []) == (False, False)
    assert suspected(1, [at_once] * 6, [0.5, 0.6, 0.7]) == (False, False)  # as short as all are here
    assert suspected(1, [late] * 6, [100.0] * 3) == (True, True)
    # no new light from what succeeds elsewhere later: it is asked for once
    assert suspected(1, [late] * 6, []) == (False, False)


@pytest.mark.parametrize("jobs", [4, 1])
@pytest.mark.parametrize("order", ORDERS)
def test_sixteen_slots_end_about_when_list_scheduling_would(order: str, jobs: int) -> None:
    """20 seeds; `scripts/simulate` has 100 of them."""
    found = sorted(simulate(seed, ORDERS[order](seed), 16 // jobs, jobs, arrive=0.05).ratio for seed in range(20))
    assert found[10] <= 1.05
    assert found[18] <= 1.15  # the 95th of 100


@pytest.mark.parametrize("seconds", [pareto(3, 1500), [0.05, 0.05, 0.05, 0.05, 0.1, 0.2, 0.5, 1.5] * 190], ids=["heavy tail", "sweep"])
def test_what_forty_workers_call_for_each_of_many_cases(seconds: list[float]) -> None:
    """`scripts/simulate` has 1,000 workers of 100,000 cases."""
    found = simulate(3, seconds, 40, 1, arrive=1.0)
    assert found.ratio <= 1.1
    assert found.calls <= 20
    assert found.claims <= 0.6
    assert found.before_firsts <= 60 * 40


def test_what_two_hundred_workers_call_who_join_at_once_before_their_first_case() -> None:
    lab = Lab(1, latency=0.0002)
    workers = [Simulated(lab, f"w{number}", 1, [1.0] * 20_000) for number in range(200)]
    for worker in workers:
        worker.leaves = True
    work(lab, workers, lambda _: lab.random.uniform(0.0, 4.0))  # 50 starts a second
    check_twice(workers)
    assert all(len(worker.begun) == 1 for worker in workers)
    assert max(worker.calls_before_first for worker in workers) <= 60
    assert sum(worker.calls_before_first for worker in workers) <= 12_000


@pytest.mark.slow
def test_what_two_hundred_workers_call_who_join_in_one_instant_and_stay() -> None:
    lab = Lab(1, latency=0.0002)
    workers = [Simulated(lab, f"w{number}", 1, [0.5] * 8_000) for number in range(200)]
    work(lab, workers)
    check_twice(workers)
    assert sum(len(worker.finished) for worker in workers) == 8_000
    firsts = sorted(worker.calls_before_first for worker in workers)
    assert firsts[180] <= 60  # of real processes, which two cores run by turns, all: `scripts/soak workers --only rush`
    assert sum(firsts) <= 12_000


@pytest.mark.parametrize("linked", [True, False], ids=["links", "files of older versions"])
def test_a_name_is_made_once_with_all_of_its_text(tmp_path: Path, linked: bool) -> None:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    if linked:
        (tmp_path / LINKED).symlink_to("links")
    first, second = DiskFolder(str(tmp_path)), DiskFolder(str(tmp_path))
    line = CaseBlock(1, "w", 0, 0, 3, 2).encode()
    assert first.make("claims/1", line)
    assert not second.make("claims/1", b"another\n")
    assert second.read("claims/1") == line == (os.readlink(tmp_path / "claims/1").encode() + b"\n" if linked else (tmp_path / "claims/1").read_bytes())
    assert second.make("tokens/w-0-0-w", line)
    assert first.rename("tokens/w-0-0-w", "tokens/w-0-1-w") and not second.rename("tokens/w-0-0-w", "tokens/w-0-0-x")
    assert first.read("tokens/w-0-1-w") == line
    assert first.exists("claims/1") and not first.exists("claims/2") and first.read("claims/2", sure=True) is None
    assert last_claim(first) == 1
    assert sorted(first.names("claims")) == (["0", "1"] if linked else ["1"])  # nothing is left of how it was made


class Forgetful(MemoryFolder):
    """A network file system that loses the answer to a call, sends it again, and for a while doesn't show what is there."""

    blind = False
    lost = 0

    def make(self, name: str, line: bytes) -> bool:
        made = super().make(name, line)
        if made and name.startswith("claims/") and self._lab.random.random() < 0.3:
            self.lost += 1
            self.blind = self._lab.random.random() < 0.5
            return False
        return made

    def read(self, name: str, *, sure: bool = False) -> bytes | None:
        found = super().read(name, sure=sure)
        if self.blind and sure and name.startswith("claims/"):
            self.blind = False
            return None
        return found


@pytest.mark.parametrize("seed", range(200, 230))
def test_a_claim_whose_answer_was_lost_is_still_a_claim_of_who_made_it(seed: int) -> None:
    lab = Lab(seed)
    seconds = [0.2] * 40
    workers = [Simulated(lab, f"w{number}", 2, seconds, folder=Forgetful) for number in range(3)]
    work(lab, workers)
    check(workers, 40, {})
    assert sum(worker.folder.lost for worker in workers if isinstance(worker.folder, Forgetful))
