"""Shares of a list: no item is lost or had twice, and none has all the dear ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.cluster.share import Share, deal, parse_shard, take
from sharedenv.errors import EXIT_USAGE, SharedenvError


@pytest.mark.parametrize("dealt", [deal, take])
@given(st.integers(0, 300), st.integers(1, 80))
def test_every_item_is_in_exactly_one_share_and_sizes_are_even(dealt: Callable[[range, Share], Sequence[int]], items: int, count: int) -> None:
    """Every item is in exactly one share; sizes differ by one at most; a share keeps the order of the list."""
    shares = [dealt(range(items), Share(index, count)) for index in range(count)]
    assert sorted(item for share in shares for item in share) == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(list(share) == sorted(share) for share in shares)


@pytest.mark.parametrize("period", [2, 4, 5, 8, 10, 16])
@pytest.mark.parametrize("count", [4, 8, 15, 16])
def test_no_share_has_all_the_dear_ones_of_a_sweep_with_a_period(period: int, count: int) -> None:
    """An inner loop of so many levels, of which the last is dear: with strides two of 16 shares had all of them."""
    dear = [sum(item % period == period - 1 for item in deal(range(160), Share(index, count))) for index in range(count)]
    assert max(dear) <= 1.4 * 160 / period / count + 3


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_no_share_has_all_the_dear_ones_of_a_sweep_that_gets_dearer(count: int) -> None:
    """With blocks the last one had."""
    sums = [sum(deal(range(160), Share(index, count))) for index in range(count)]
    assert max(sums) <= 1.05 * sum(sums) / count


def test_a_share_is_the_same_on_every_machine() -> None:
    """Whichever Python, and whichever day: other machines take the rest."""
    assert [deal(range(10), Share(index, 3)) for index in range(3)] == [[2, 5, 6], [1, 3, 8, 9], [0, 4, 7]]


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_shard_is_one_based(index: int, count: int) -> None:
    """I/N with 1 ≤ I ≤ N, and it reads back as it was written."""
    if index <= count:
        share = parse_shard(f"{index}/{count}")
        assert (share.index, share.count, str(share)) == (index - 1, count, f"{index}/{count}")
    else:
        with pytest.raises(SharedenvError):
            parse_shard(f"{index}/{count}")


@pytest.mark.parametrize(
    "text", ["", "1", "0/4", "5/4", "1/", "/4", "1/0", "-1/4", "1/4/2", "a/b", "+1/4", "1 /4", "1_0/20", "١/٤"]
)
def test_a_bad_shard_is_refused(text: str) -> None:
    with pytest.raises(SharedenvError) as caught:
        parse_shard(text)
    assert caught.value.exit_code == EXIT_USAGE


def test_a_wrong_share_is_answered_with_those_of_its_own_count() -> None:
    for text, hint in [("0/3", "--shard 1/3 … --shard 3/3"), ("a/b", "--shard 1/4 … --shard 4/4"), ("1/0", "--shard 1/4 … --shard 4/4")]:
        with pytest.raises(SharedenvError) as caught:
            parse_shard(text)
        assert caught.value.hint == hint
