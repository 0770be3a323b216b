"""The share of an array task: what schedulers say, and that no case is lost or run twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.cluster.share import Share, array_name, parse_shard, share_from_environment, take
from sharedenv.errors import EXIT_USAGE, SharedenvError

RANGES = st.builds(
    lambda first, count, step: range(first, first + count * step, step),
    st.integers(0, 5000),
    st.integers(1, 60),
    st.integers(1, 40),
)


def slurm(index: int, array: range, **changes: str) -> dict[str, str]:
    """What Slurm 22.05 sets in a task of an array: MAX is the last task's number, whatever end was asked."""
    return {
        "SLURM_ARRAY_TASK_ID": str(index),
        "SLURM_ARRAY_TASK_MIN": str(array[0]),
        "SLURM_ARRAY_TASK_MAX": str(array[-1]),
        "SLURM_ARRAY_TASK_STEP": str(array.step),
        "SLURM_ARRAY_TASK_COUNT": str(len(array)),
        **changes,
    }


def sge(index: int, array: range) -> dict[str, str]:
    """SGE gives the end as the user wrote it."""
    return {
        "SGE_TASK_ID": str(index),
        "SGE_TASK_FIRST": str(array[0]),
        "SGE_TASK_LAST": str(array.stop - 1),
        "SGE_TASK_STEPSIZE": str(array.step),
    }


def lsf(index: int, array: range, name: str | None = None) -> dict[str, str]:
    step = "" if array.step == 1 else f":{array.step}"
    return {
        "LSB_JOBNAME": f"sweep[{array.start}-{array.stop - 1}{step}]" if name is None else name,
        "LSB_JOBINDEX": str(index),
        "LSB_JOBINDEX_END": str(array.stop - 1),
        "LSB_JOBINDEX_STEP": str(array.step),
    }


def refusal(environ: dict[str, str]) -> SharedenvError:
    with pytest.raises(SharedenvError) as caught:
        share_from_environment(environ)
    assert caught.value.exit_code == EXIT_USAGE
    assert "--shard" in (caught.value.hint or "")
    return caught.value


@given(st.integers(0, 300), st.integers(1, 80))
def test_every_item_is_in_exactly_one_share_and_sizes_are_even(items: int, count: int) -> None:
    """Every item is in exactly one share; sizes differ by one at most; a share keeps the order of the list."""
    shares = [take(range(items), Share(index, count)) for index in range(count)]
    assert sorted(item for share in shares for item in share) == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(list(share) == sorted(share) for share in shares)


@given(RANGES)
def test_slurm_tasks_have_the_shares_of_their_positions(array: range) -> None:
    """Whatever range and step: the first task has the first share, and each share one task."""
    shares = [share_from_environment(slurm(index, array)) for index in array]
    assert shares == [Share(position, len(array)) for position in range(len(array))]


@given(RANGES)
def test_sge_tasks_have_the_shares_of_their_positions(array: range) -> None:
    shares = [share_from_environment(sge(index, array)) for index in array]
    assert shares == [Share(position, len(array)) for position in range(len(array))]


@given(RANGES.filter(lambda array: array[0] > 0))
def test_lsf_tasks_have_the_shares_of_their_positions(array: range) -> None:
    """Only the job's name says where the range starts."""
    shares = [share_from_environment(lsf(index, array)) for index in array]
    assert shares == [Share(position, len(array)) for position in range(len(array))]


def test_lsf_throttles_in_the_name() -> None:
    assert share_from_environment(lsf(12, range(11, 21), "a[1-3] b[11-20]%5")) == Share(1, 10)


@pytest.mark.parametrize("name", ["", "sweep", "sweep[12]", "sweep[11-30]", "sweep[11-20:2]", "[a-20]", "sweep]", "sweep[11-20]x", "sweep%5"])
def test_an_lsf_array_that_may_start_anywhere_is_refused(name: str) -> None:
    """Task 11 of [11-20] must not take itself for the 11th of 20: the first ten shares would be nobody's."""
    assert "where the array starts" in (refusal(lsf(12, range(11, 21), name)).cause or "")


def test_a_list_of_lsf_is_refused() -> None:
    assert "list" in (refusal(lsf(3, range(1, 8), "sweep[1,3,7]")).cause or "")


@given(st.sets(st.integers(0, 60), min_size=2, max_size=20))
def test_a_list_with_gaps_is_refused_by_slurm_tasks(indices: set[int]) -> None:
    """Slurm gives a list the step 1: unless the list is a whole range, no task may guess."""
    array = range(min(indices), max(indices) + 1)
    environments = [slurm(index, array, SLURM_ARRAY_TASK_COUNT=str(len(indices))) for index in sorted(indices)]
    if len(indices) == len(array):
        assert [share_from_environment(each).index for each in environments] == list(range(len(array)))
    else:
        for each in environments:
            assert "gaps" in (refusal(each).cause or "")


def test_two_ranges_with_one_step_are_refused() -> None:
    """--array=1-5:2,6-10:2 as Slurm 22.05 describes it."""
    for index in (1, 3, 5, 6, 8, 10):
        refusal(slurm(index, range(1, 11, 1), SLURM_ARRAY_TASK_STEP="2", SLURM_ARRAY_TASK_COUNT="6"))


def test_a_list_as_long_as_its_range_is_refused() -> None:
    """--array=1-5:2,8: four tasks, as 1-8:2 has, and no 7."""
    for index in (1, 3, 5, 8):
        refused = refusal(slurm(index, range(1, 9), SLURM_ARRAY_TASK_STEP="2", SLURM_ARRAY_TASK_COUNT="4"))
        assert "gaps" in (refused.cause or "")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_JOB_ID": "4714"}, "4711"),
        ({"LSB_JOBINDEX": "3", "LSB_JOBID": "4711"}, "4711"),
        ({"LSB_JOBINDEX": "0", "LSB_JOBID": "4711"}, ""),
        ({"SGE_TASK_ID": "3", "JOB_ID": "4711"}, "4711"),
        ({"SGE_TASK_ID": "undefined", "JOB_ID": "4711"}, ""),
        ({"PBS_ARRAY_INDEX": "3", "PBS_JOBID": "4711[3].server"}, "4711.server"),
        ({}, ""),
    ],
)
def test_the_tasks_of_an_array_know_its_job(environ: dict[str, str], name: str) -> None:
    assert array_name(environ) == name


@pytest.mark.parametrize("variable", ["PBS_ARRAY_INDEX", "PBS_ARRAYID"])
def test_pbs_doesn_t_tell_the_count(variable: str) -> None:
    assert f"${variable}/N" in (refusal({variable: "3"}).hint or "")


def test_a_missing_or_odd_variable_is_named() -> None:
    environ = slurm(3, range(1, 5))
    del environ["SLURM_ARRAY_TASK_COUNT"]
    assert refusal(environ).cause == "SLURM_ARRAY_TASK_COUNT is not set"
    assert "'1_0'" in (refusal(slurm(3, range(1, 5), SLURM_ARRAY_TASK_MAX="1_0")).cause or "")
    assert refusal(slurm(3, range(1, 5), SLURM_ARRAY_TASK_STEP="0"))
    assert refusal({"LSB_JOBINDEX": "3", "LSB_JOBINDEX_END": "9", "LSB_JOBINDEX_STEP": "0"})


@pytest.mark.parametrize("environ", [{}, {"SGE_TASK_ID": "undefined"}, {"LSB_JOBINDEX": "0"}, {"SLURM_JOB_ID": "7"}])
def test_a_job_that_is_no_array_is_refused(environ: dict[str, str]) -> None:
    assert "no task of an array job" in refusal(environ).message


def test_an_array_that_starts_at_zero() -> None:
    assert share_from_environment(slurm(0, range(3))) == Share(0, 3)


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
