"""`srun sharedenv run …` in a step of several tasks: they are workers of one run."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from sharedenv.run.journal.runs import list_runs
from tests.conftest import Project
from tests.run.test_join import BODY, begun

BODY = BODY.replace("{seconds}", "0.2")


def step(place: int, tasks: int = 2, number: int = 0, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a task of a step."""
    ids = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": str(number)}
    return {**ids, "SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_PROCID": str(place), **(more or {})}


def once(project: Project, count: int) -> dict[str, int]:
    return {f"case{number}": 1 for number in range(1, count + 1)}


@pytest.mark.parametrize("words", [(), ("--array",), ("--no-build",), ("--insist",)])
def test_each_script_is_run_once_by_all_tasks(project: Project, words: tuple[str, ...]) -> None:
    project.copies(8, body=BODY)
    if words == ("--no-build",):
        project.call("build", "case1/script.py")
    tasks = [project.start("run", *words, "-j1", "case*/script.py", env=step(place)) for place in (0, 1)]
    told = [task.communicate(timeout=120) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], told
    assert begun(project) == once(project, 8)
    [run] = list_runs(str(project.pool / "runs"))
    assert [session.ended for session in run.sessions()] == ["done", "done"]


def test_a_step_in_each_task_of_an_array_is_one_run_of_them_all(project: Project) -> None:
    """#SBATCH --array=1-2 --ntasks=2 with srun before it, and another step that ran before in one of them."""
    project.copies(8, body=BODY)
    tasks = [
        project.start("run", "--array", "-j1", "case*/script.py", env=step(place, number=task, more=array))
        for task in (0, 1) for place in (0, 1)
        for array in [{"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_JOB_ID": "1", "SLURM_JOB_ID": str(task + 1)}]
    ]  # fmt: skip
    assert [task.wait(120) for task in tasks] == [0] * 4
    assert begun(project) == once(project, 8)


def test_each_step_is_a_run_of_its_own(project: Project) -> None:
    """`srun sharedenv run …` twice runs all twice, as it does without srun."""
    project.copies(2, body=BODY)
    for number in (0, 1):
        for place in (0, 1):
            project.call("run", "case*/script.py", env=step(place, number=number))
    assert begun(project) == dict.fromkeys(once(project, 2), 2)


def test_what_differs_from_task_to_task_is_run(project: Project) -> None:
    """A share by the task's place, a list or a script of its own, and one that is read from what is piped to it."""
    project.copies(2, [], "open('ran', 'a').write('x')")
    for place in (0, 1):
        project.call("run", "--shard", f"{place + 1}/2", "case*/script.py", env=step(place))
        project.call("run", f"case{place + 1}/script.py", env=step(place + 1, 3))
        (project.path / f"list.{place}").write_text(f"case{place + 1}/script.py\n")
        project.call("run", "--from-file", f"list.{place}", env=step(place))
        with open(project.path / f"list.{place}") as piped:
            project.call("run", "--from-file", "-", env=step(place), stdin=piped)
    assert [(project.path / f"case{number}/ran").read_text() for number in (1, 2)] == ["xxxx"] * 2


@pytest.mark.parametrize("variables", [{"SLURM_PROCID": "0"}, {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}])
def test_a_batch_script_and_a_step_of_one_task_are_no_such_step(project: Project, variables: dict[str, str]) -> None:
    project.copies(2, [], "open('ran', 'a').write('x')")
    project.call("run", "case*/script.py", env={**os.environ, **project.env, **variables})
    assert len(list(project.path.glob("*/ran"))) == 2


def test_a_case_that_calls_run_has_a_run_of_its_own(project: Project) -> None:
    """It would wait for itself."""
    project.copies(2, body="open('ran', 'a').write('x')")
    for place in (0, 1):
        project.call("run", "case*/script.py", env=step(place, more={"SHAREDENV_CASE_RUN": "20261130-152900"}))
    project.call("run", "--array", "case*/script.py", env={"SHAREDENV_CASE_RUN": "20261130-152900"})
    assert (project.path / "case1/ran").read_text() == "xxx"
