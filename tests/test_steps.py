"""`srun sharedenv run …` in a step of several tasks: each would begin the same cases in the same folders."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from tests.conftest import Project


def step(project: Project, place: int, tasks: int = 2, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**project.env, "SLURM_JOB_ID": "1", "SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_PROCID": str(place), **(more or {})}


@pytest.mark.parametrize("words", [(), ("--array",), ("--no-build",)])
def test_the_same_scripts_in_each_task_are_refused(project: Project, words: tuple[str, ...]) -> None:
    """In an array task, too, whose share is that of all tasks of its step."""
    project.copies(2, [], "open('ran', 'a').write('x')")
    project.call("build", "case1/script.py")
    array = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "2", "SLURM_ARRAY_TASK_STEP": "1"}
    for place in (0, 1):
        told = project.call("run", *words, "case*/script.py", env=step(project, place, more=array), status=2).stderr
        assert "error: each of the 2 tasks of this step would run the same scripts" in told
        assert '--shard "$((SLURM_PROCID+1))/2"' in told and "sharedenv join" in told
    assert not list(project.path.glob("*/ran"))


def test_what_differs_from_task_to_task_is_run(project: Project) -> None:
    """A share by the task's place, a list or a script of its own; and all of it for who insists."""
    project.copies(2, [], "open('ran', 'a').write('x')")
    for place in (0, 1):
        project.call("run", "--shard", f"{place + 1}/2", "case*/script.py", env=step(project, place))
        project.call("run", f"case{place + 1}/script.py", env=step(project, place + 1, 3))
        (project.path / f"list.{place}").write_text(f"case{place + 1}/script.py\n")
        project.call("run", "--from-file", f"list.{place}", env=step(project, place))
    project.call("run", "--insist", "case*/script.py", env=step(project, 0))
    assert [(project.path / f"case{number}/ran").read_text() for number in (1, 2)] == ["xxxx"] * 2


@pytest.mark.parametrize("variables", [{"SLURM_PROCID": "0"}, {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}])
def test_a_batch_script_and_a_step_of_one_task_are_no_such_step(project: Project, variables: dict[str, str]) -> None:
    project.copies(2, [], "open('ran', 'a').write('x')")
    project.call("run", "case*/script.py", env={**os.environ, **project.env, **variables})
    assert len(list(project.path.glob("*/ran"))) == 2
