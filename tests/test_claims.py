"""Claims as pure logic: whatever happens to workers at whatever call, each case is begun once."""

from __future__ import annotations

from collections import Counter

import pytest

from sharedenv.run.claims.blocks import Block, Offer, Token, decode_block, decode_offer, decode_token
from tests.claims_lab import Lab, Simulated, work


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


def check_twice(workers: list[Simulated]) -> None:
    begun = Counter((begun.position, begun.attempts) for worker in workers for _, begun in worker.begun)
    assert max(begun.values()) == 1, f"begun twice: {[case for case, times in begun.items() if times > 1]}"


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
    block = Block(7, "worker.3f", 2, 10, 15, 32, 1)
    assert decode_block(block.encode()) == block
    assert decode_token(block.token(3, "worker.77").partition("/")[2]) == Token("worker.3f", 2, 3, "worker.77")
    offer = Offer(Token("worker.3f", 2, 3, "free"), slow=True)
    assert decode_offer(offer.encode()) == offer
    for torn in (b"", b"worker.3f 7", block.encode()[:-1], b"a 1 2 3\n", b"\xff\n", b"worker.3f 1 1 5 5 1 0\n"):
        assert decode_block(torn) is None
        assert decode_offer(torn) is None
    for name in ("", "again-1", "a-b-c-d", "worker.1-2-3", ".nfs000012"):
        assert decode_token(name) is None
