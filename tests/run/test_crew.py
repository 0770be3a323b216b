"""Which tasks were started alike, by what schedulers tell each of them."""

from __future__ import annotations

import pytest

from sharedenv.cluster.crew import NESTED, Crew, array_name, crew_of
from sharedenv.errors import EXIT_USAGE, SharedenvError

SLURM = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_JOB_ID": "4714", "SLURM_CLUSTER_NAME": "big", "SLURM_PROCID": "0"}
STEP = {"SLURM_JOB_ID": "4714", "SLURM_STEP_ID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "1", "SLURM_CLUSTER_NAME": "big"}


@pytest.mark.parametrize(
    ("environ", "crew"),
    [
        (SLURM, Crew("slurm", "big", "4711", "3", array=True)),
        ({**SLURM, **STEP}, Crew("slurm", "big", "4711", "3.1", array=True)),  # srun in a task of an array: one run for all tasks of all
        (STEP, Crew("slurm", "big", "4714.2", "1", array=False)),
        ({"LSB_JOBINDEX": "3", "LSB_JOBID": "4711", "LSF_ENVDIR": "/lsf/a"}, Crew("lsf", "/lsf/a", "4711", "3", array=True)),
        ({"SGE_TASK_ID": "3", "JOB_ID": "4711", "SGE_ROOT": "/sge", "SGE_CELL": "default"}, Crew("sge", "/sge:default", "4711", "3", array=True)),
        ({"PBS_ARRAY_INDEX": "3", "PBS_JOBID": "4711[3].server"}, Crew("pbs", "", "4711.server", "3", array=True)),
        ({"PBS_ARRAYID": "3", "PBS_JOBID": "4711[3].server"}, Crew("pbs", "", "4711.server", "3", array=True)),
        ({"PBS_ARRAYID": "3", "PBS_JOBID": "4711-3.server"}, Crew("pbs", "", "4711.server", "3", array=True)),
    ],
)
def test_a_task_knows_its_array_and_never_its_place(environ: dict[str, str], crew: Crew) -> None:
    """No count, range or step is looked at: lists with gaps, throttles and late tasks are as any other."""
    assert crew_of(environ, array=True) == crew


def test_an_array_is_one_crew_only_where_the_user_says_so() -> None:
    """Each task of an array may have a list of its own; those of a step are started with the same words."""
    assert crew_of(SLURM, array=False) is None
    assert crew_of({**SLURM, **STEP}, array=False) == Crew("slurm", "big", "4714.2", "1", array=False)


@pytest.mark.parametrize("tasks", ["", "0", "1"])
def test_a_step_of_one_task_is_none(tasks: str) -> None:
    assert crew_of({**STEP, "SLURM_STEP_NUM_TASKS": tasks}, array=False) is None


def test_what_a_case_calls_is_nested() -> None:
    for array in (True, False):
        assert crew_of({**SLURM, **STEP, NESTED: "20261130-152900"}, array=array) is None


@pytest.mark.parametrize("environ", [{}, {"SGE_TASK_ID": "undefined"}, {"LSB_JOBINDEX": "0"}, {"SLURM_JOB_ID": "7"}])
def test_a_job_that_is_no_array_is_refused(environ: dict[str, str]) -> None:
    assert crew_of(environ, array=False) is None
    with pytest.raises(SharedenvError) as caught:
        crew_of(environ, array=True)
    assert caught.value.exit_code == EXIT_USAGE
    assert "no task of an array job" in caught.value.message


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_JOB_ID"),
        ({"LSB_JOBINDEX": "1"}, "LSB_JOBID"),
        ({"SGE_TASK_ID": "1"}, "JOB_ID"),
        ({"PBS_ARRAY_INDEX": "1"}, "PBS_JOBID"),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "1"}, "SLURM_STEP_ID"),
    ],
)
def test_without_a_number_of_the_job_nothing_is_guessed(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(SharedenvError, match=missing):
        crew_of(environ, array="SLURM_PROCID" not in environ)


@pytest.mark.parametrize(
    ("environ", "name"),
    [(SLURM, "4711"), ({"LSB_JOBINDEX": "0", "LSB_JOBID": "4711"}, ""), ({"SGE_TASK_ID": "undefined", "JOB_ID": "4711"}, ""), ({}, "")],
)
def test_the_tasks_of_an_array_know_its_job(environ: dict[str, str], name: str) -> None:
    assert array_name(environ) == name
