"""How many tasks an array gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.cluster.packing import Limits, Packing, count_tasks
from sharedenv.errors import EXIT_USAGE, SharedenvError


@pytest.mark.parametrize(
    ("cases", "width", "slots", "expected"),
    [
        (1, 1, 1000, 1),
        (8, 1, 1000, 8),  # few cases, long perhaps: one each
        (20, 1, 1000, 20),
        (100, 1, 1000, 20),  # packed from here on
        (5000, 1, 16, 16),  # what the cluster can run at once
        (5000, 1, 100_000, 250),  # 20 cases to a task
        (5000, 4, 100_000, 63),  # … that run 4 at a time
        (8, 4, 1000, 2),  # 4 at a time in each
        (100_000, 1, None, 1000),  # no more than an array takes
    ],
)
def test_the_default(cases: int, width: int, slots: int | None, expected: int) -> None:
    assert count_tasks(cases, width, Packing(), Limits(slots, 1000)) == expected


@given(st.integers(1, 10**6), st.integers(1, 128), st.none() | st.integers(1, 10**5), st.integers(1, 10**5))
def test_the_default_always_fits(cases: int, width: int, slots: int | None, array: int) -> None:
    """At least one task, no empty one, and never more than the cluster takes or can run at once."""
    tasks = count_tasks(cases, width, Packing(), Limits(slots, array))
    assert 1 <= tasks <= min(cases, array, slots or array)


def test_what_the_user_asks() -> None:
    limits = Limits(16, 1000)
    assert count_tasks(5000, 1, Packing(tasks=100), limits) == 100
    assert count_tasks(50, 1, Packing(tasks=100), limits) == 50  # no empty task
    assert count_tasks(5000, 1, Packing(per_task=7), limits) == 715
    assert count_tasks(5, 1, Packing(per_task=7), limits) == 1


@pytest.mark.parametrize("packing", [Packing(tasks=1001), Packing(per_task=4)])
def test_more_than_the_cluster_takes_is_an_error_that_says_what_fits(packing: Packing) -> None:
    with pytest.raises(SharedenvError) as caught:
        count_tasks(5000, 1, packing, Limits(16, 1000))
    assert caught.value.exit_code == EXIT_USAGE
    assert "--per-task 5 " in (caught.value.hint or "")
