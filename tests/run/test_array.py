"""`run --array`: the tasks of an array work on one run, whichever scheduler started them, however they come and go."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from sharedenv.pool.files import file_system_time
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs
from tests.conftest import Project
from tests.faults import other_host, require
from tests.run.test_join import BODY as SAYS
from tests.run.test_join import begun, wait_for

BODY = SAYS.replace("{seconds}", "0.1")
HOLDS = SAYS.replace("{seconds}", "0.1") + "\nwhile os.path.exists('../hold'): time.sleep(0.05)\n"
DAY = 86400.0

#: what each scheduler tells a task of an array of its number and its job
SCHEDULERS = {
    "slurm": lambda task: {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_JOB_ID": "4711"},
    "pbs": lambda task: {"PBS_ARRAY_INDEX": task, "PBS_JOBID": f"4711[{task}].server"},
    "torque": lambda task: {"PBS_ARRAYID": task, "PBS_JOBID": f"4711-{task}.server"},
    "lsf": lambda task: {"LSB_JOBINDEX": task, "LSB_JOBID": "4711", "LSB_JOBNAME": "sweep[1,3,7]%2"},
    "sge": lambda task: {"SGE_TASK_ID": task, "JOB_ID": "4711", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "9", "SGE_TASK_STEPSIZE": "3"},
}


def task(project: Project, number: int | str, *words: str, scheduler: str = "slurm", job: str = "4711") -> subprocess.Popen[str]:
    """A task of the array at work on `run --array -j1 WORDS`."""
    env = {name: value.replace("4711", job) for name, value in SCHEDULERS[scheduler](str(number)).items()}
    return project.start("run", "--array", "-j1", *(words or ("case*/script.py",)), env=env)


def end(*tasks: subprocess.Popen[str], status: int = 0) -> list[str]:
    """What they said when they have ended."""
    said = [process.communicate(timeout=180)[1] for process in tasks]
    assert [process.returncode for process in tasks] == [status] * len(tasks), said
    return said


def runs(project: Project) -> list[Run]:
    return list_runs(str(project.pool / "runs"))


def once(names: Iterable[int]) -> dict[str, int]:
    return {f"case{number}": 1 for number in names}


def age(run: Run, seconds: float) -> None:
    """The run was made, and its workers ended, so long ago."""
    then = file_system_time(run.path) - seconds
    for path in [*Path(run.path).iterdir(), Path(run.path)]:
        os.utime(path, (then, then))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_each_script_is_run_once_whatever_the_numbers_of_the_tasks_are(project: Project, scheduler: str) -> None:
    """A list with gaps; a task that comes when all is done; one that is started again."""
    project.copies(8, body=BODY)
    end(*[task(project, number, scheduler=scheduler) for number in (1, 3, 7)])
    assert begun(project) == once(range(1, 9))
    [run] = runs(project)
    assert len(run.sessions()) == 3
    [late] = end(task(project, 12, scheduler=scheduler))
    [again] = end(task(project, 3, scheduler=scheduler))
    assert f"nothing is left to begin; run {run.id} has ended" in late and "nothing is left to begin" in again
    assert [one.id for one in runs(project)] == [run.id]
    assert begun(project) == once(range(1, 9))


def test_many_that_race_make_one_run_and_only_its_maker_looks_for_scripts(project: Project) -> None:
    project.copies(16, body=BODY)
    said = end(*[task(project, number) for number in range(16)])
    assert begun(project) == once(range(1, 17))
    assert len(runs(project)) == 1
    assert len([text for text in said if "building environment" in text]) == 1


def test_who_comes_later_never_expands_a_pattern(project: Project) -> None:
    """What matches by then is another list: results, and folders that a case has made."""
    project.copies(3, body=BODY)
    end(task(project, 1))
    project.copies(5, body=BODY)
    end(task(project, 2))
    assert begun(project) == once(range(1, 4))
    end(task(project, 1, job="4712"))
    assert begun(project) == {**once(range(4, 6)), "case1": 2, "case2": 2, "case3": 2}


def test_a_task_killed_at_work_is_started_again_and_begins_none_twice(project: Project) -> None:
    project.copies(6, body=HOLDS)
    (project.path / "hold").touch()
    first = task(project, 1)
    wait_for(lambda: len(begun(project)) == 1)
    first.kill()
    first.wait()
    again = task(project, 1)
    wait_for(lambda: len(begun(project)) == 2)
    (project.path / "hold").unlink()
    end(again)
    assert begun(project) == once(range(1, 7))
    [run] = runs(project)
    assert len(project.call("status", run.id, "--list", "interrupted").stdout.split()) == 1


def test_the_second_line_of_a_job_script_waits_for_the_last_case_of_the_first(project: Project) -> None:
    """As long as one task did all that it was given in one go, a task's own order was enough."""
    project.copies(4, body=HOLDS)
    project.script("post1/script.py", body=BODY)
    project.script("post2/script.py", body=BODY)
    (project.path / "hold").touch()
    slow = task(project, 1)
    wait_for(lambda: len(begun(project)) == 1)
    quick = task(project, 2, "--delay", "0", "case*/script.py")  # a worker's own, so the same line
    wait_for(lambda: len(begun(project)) == 2)
    slow.send_signal(signal.SIGTERM)  # its case goes on
    second = task(project, 1, "post*/script.py")  # as a script does whose first line has ended
    time.sleep(2)
    assert not begun(project).keys() & {"post1", "post2"}
    (project.path / "hold").unlink()
    slow.communicate(timeout=120)
    end(quick)
    [said] = end(second)
    end(task(project, 2, "post*/script.py"))
    assert begun(project) == {**once(range(1, 5)), "post1": 1, "post2": 1}
    order = (project.path / "ended").read_text().split()
    assert sorted(order[:4]) == [f"case{number}" for number in range(1, 5)]
    assert "waiting until all scripts of run" in said
    assert len(runs(project)) == 2


def test_no_wait_does_not_wait(project: Project) -> None:
    project.copies(1, body=HOLDS)
    project.script("post1/script.py", body=BODY)
    (project.path / "hold").touch()
    first = task(project, 1)
    wait_for(lambda: len(begun(project)) == 1)
    end(task(project, 1, "--no-wait", "post1/script.py"))
    assert begun(project) == {"case1": 1, "post1": 1}
    (project.path / "hold").unlink()
    end(first)


def test_a_line_does_not_wait_for_what_nobody_works_on(project: Project) -> None:
    """The first line has left something, and no task is there to begin it: another may come, this one says so and ends."""
    project.copies(3, body=HOLDS)
    project.script("post1/script.py", body=BODY)
    (project.path / "hold").touch()
    first = task(project, 1)
    wait_for(lambda: len(begun(project)) == 1)
    first.send_signal(signal.SIGTERM)
    (project.path / "hold").unlink()
    first.communicate(timeout=60)
    [run] = runs(project)
    [said] = end(task(project, 1, "post1/script.py"), status=1)
    assert f"error: 2 scripts of run {run.id}, of the line before, not begun, and nobody is at work on it" in said
    assert f"hint: sharedenv join {run.id}, or --no-wait" in said
    end(task(project, 2))
    end(task(project, 1, "post1/script.py"))
    assert begun(project) == {**once(range(1, 4)), "post1": 1}


@pytest.mark.parametrize("own", [("case2/script.py",), ("case*/script.py", "--", "2"), ("--capture", "out-2", "case*/script.py")])
def test_a_task_with_words_of_its_own_is_refused(project: Project, own: tuple[str, ...]) -> None:
    """Its list would be nobody's: the run of the array is that of the first task."""
    project.copies(2, body=BODY)
    end(task(project, 1))
    [said] = end(task(project, 2, *own), status=2)
    assert "error: array 4711 works on another list, so this task has no part in it" in said
    assert "that was begun by: sharedenv run --array -j1 'case*/script.py'" in said
    assert "hint: without --array this task runs what it names; or --shard" in said
    assert begun(project) == once((1, 2))


@pytest.mark.parametrize("seconds", [7 * DAY, 300 * DAY])
def test_the_same_number_long_after_is_another_array(project: Project, seconds: float) -> None:
    project.copies(2, body=BODY)
    end(task(project, 1))
    age(runs(project)[0], seconds)
    end(task(project, 1), task(project, 2))
    assert begun(project) == dict.fromkeys(once((1, 2)), 2)
    assert len(runs(project)) == 2
    end(task(project, 3))
    assert len(runs(project)) == 2


def test_prune_takes_notes_of_arrays_of_long_ago_alone(project: Project) -> None:
    project.copies(1, body=BODY)
    end(task(project, 1), task(project, 1, job="4712"))
    old, young = sorted((project.pool / "runs").glob(".crew-*"))
    then = time.time() - 91 * DAY
    os.utime(old, (then, then))
    assert "1 piece of rubbish" in project.call("prune").stderr
    assert not old.exists() and young.exists()


def test_what_is_left_of_a_run_waits_for_its_tasks_for_weeks(project: Project) -> None:
    """A throttled array whose task comes on the third day; a number that is given again after months is another matter."""
    project.copies(3, body=HOLDS)
    (project.path / "hold").touch()
    first = task(project, 1)
    wait_for(lambda: len(begun(project)) == 1)
    first.send_signal(signal.SIGTERM)
    (project.path / "hold").unlink()
    first.communicate(timeout=60)
    age(runs(project)[0], 3 * DAY)
    end(task(project, 2))
    assert begun(project) == once(range(1, 4))
    assert len(runs(project)) == 1


def test_other_clusters_and_users_have_numbers_of_their_own(project: Project) -> None:
    project.copies(2, body=BODY)
    end(task(project, 1, scheduler="slurm"))
    end(task(project, 1, scheduler="pbs"))
    env = {**SCHEDULERS["slurm"]("1"), "SLURM_CLUSTER_NAME": "other"}
    project.call("run", "--array", "case*/script.py", env=env)
    assert len(runs(project)) == 3


def test_a_build_that_fails_is_told_to_those_who_wait_and_tried_once(project: Project) -> None:
    project.copies(2, ["no-such-package-as-this"], BODY)
    said = end(*[task(project, number) for number in range(4)], status=3)
    assert len([text for text in said if "building environment" in text]) < 4
    assert all("array 4711 has no run to work on" in text for text in said)
    assert not runs(project)
    project.copies(2, [], BODY)
    end(task(project, 1))
    assert begun(project) == once((1, 2))


def test_without_a_build_what_is_missing_is_an_error_in_each_task(project: Project) -> None:
    project.copies(2, body=BODY)
    end(*[task(project, number, "--no-build", "case*/script.py") for number in (1, 2)], status=3)
    project.call("build", "case*/script.py")
    end(*[task(project, number, "--no-build", "case*/script.py") for number in (1, 2)])
    assert begun(project) == once((1, 2))


def test_a_task_ends_with_1_when_one_of_its_own_failed_and_retries_go_on_from_there(project: Project) -> None:
    project.copies(4, body=BODY + "\nsys.exit(os.getcwd().endswith('case3') and not os.path.exists('../mended'))")
    log = project.path / "log"
    [said] = end(task(project, 1, "--joblog", "log", "case*/script.py"), status=1)
    end(task(project, 2, "--joblog", "log", "case*/script.py"))
    assert "1 failed" in said and log.read_text().count("\n") == 5
    (project.path / "mended").touch()
    [said] = end(task(project, 3, "--retry-failed", "case*/script.py", job="4712"))
    assert "1 to run, 3 left as they are" in said
    end(task(project, 4, "--retry-failed", "case*/script.py", job="4712"))
    [said] = end(task(project, 1, "--resume", "case*/script.py", job="4713"))
    assert "nothing" in said
    assert begun(project) == {**once(range(1, 5)), "case3": 2}


def test_one_group_of_failures_is_all_that_the_tasks_run_again(project: Project) -> None:
    """The larger one, then the other; a group that is not there is an error in each task, and no script is begun."""
    project.copies(4, body=BODY + "\nif os.getcwd()[-1] != '1': raise ValueError('first' if os.getcwd()[-1] in '23' else 'second')")
    end(task(project, 1), status=1)
    end(task(project, 1, "--retry-failed", "--group", "1", job="4712"), status=1)
    assert begun(project) == {**once(range(1, 5)), "case2": 2, "case3": 2}
    end(task(project, 1, "--retry-failed", "--group", "2", job="4713"), status=1)
    assert begun(project) == {"case1": 1, "case2": 2, "case3": 2, "case4": 2}
    [said] = end(task(project, 1, "--retry-failed", "--group", "9", job="4714"), status=2)
    assert "has no group 9 of failures" in said
    assert begun(project).total() == 7


def test_a_run_that_takes_the_place_of_another_has_its_results_and_begins_no_more_than_is_left(project: Project) -> None:
    """What stays is told with the rest, one that was never begun is not begun by --retry-failed, and a script that is gone has failed."""
    project.copies(5, body=HOLDS + "\nsys.exit(os.getcwd()[-1] in '12' and not os.path.exists('../mended'))")
    (project.path / "hold").touch()
    first = task(project, 1)
    wait_for(lambda: len(begun(project)) == 1)
    (project.path / "hold").unlink()
    wait_for(lambda: len(begun(project)) == 3)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    left = 5 - len(begun(project))
    (project.path / "mended").touch()
    (project.path / "case2/script.py").unlink()
    [said] = end(task(project, 1, "--retry-failed", job="4712"))
    assert "gone: case2/script.py" in said
    told = project.call("status").stdout
    assert f"{4 - left} succeeded" in told and "1 failed" in told and (not left or f"{left} not run" in told), told
    before = begun(project)
    end(task(project, 2, "--retry-failed", job="4712"))
    assert begun(project) == before
    project.call("run", "--resume", status=1)
    assert begun(project) == {**once(range(1, 6)), "case1": 2}
    assert "4 succeeded" in project.call("status").stdout


def test_fail_fast_ends_the_claims_of_all_tasks(project: Project) -> None:
    project.copies(8, body=BODY + "\nsys.exit(1)")
    end(task(project, 1, "--fail-fast", "case*/script.py"), status=1)
    [said] = end(task(project, 2, "--fail-fast", "case*/script.py"), status=2)
    assert "was told to stop" in said
    assert len(begun(project)) < 8


def test_a_pool_below_the_folder_and_one_that_is_named(project: Project) -> None:
    """Where the notes are is found without looking for scripts."""
    for folder in ("sub", "named"):
        for number in (1, 2, 3):
            project.script(f"{folder}/case{number}/script.py", body=SAYS.replace("{seconds}", "0"))
        (project.path / folder).mkdir(exist_ok=True)
    project.call("init", "sub")
    end(*[task(project, number, "sub/case*/script.py") for number in (1, 2)])
    assert len((project.path / "sub/begun").read_text().split()) == 3
    env = {**SCHEDULERS["slurm"]("1"), "SHAREDENV_POOL": str(project.path / "elsewhere")}
    for one in ("1", "2"):
        project.call("run", "--array", "named/case*/script.py", env={**env, "SLURM_ARRAY_TASK_ID": one})
    assert len((project.path / "named/begun").read_text().split()) == 3


def test_a_list_from_standard_input_is_no_list_of_all_tasks(project: Project) -> None:
    project.copies(1, body=BODY)
    [said] = end(task(project, 1, "--from-file", "-"), status=2)
    assert "hint: sharedenv run --array --from-file LIST" in said


def test_another_user_has_no_part_in_it(project: Project) -> None:
    """Where others may write the notes, nothing that they say is run."""
    project.copies(1, body=BODY)
    end(task(project, 1))
    [notes] = (project.pool / "runs").glob(".crew-*")
    (notes / "1").chmod(0o666)
    [said] = end(task(project, 2), status=2)
    assert "others may have written" in said


def test_a_line_waits_for_a_worker_on_another_machine_that_keeps_silent(project: Project) -> None:
    """It may be suspended, its case at work."""
    require("unshare")
    project.copies(2, body=HOLDS)
    project.script("post1/script.py", body=BODY)
    (project.path / "hold").touch()
    env = SCHEDULERS["slurm"]("1")
    elsewhere = project.start("run", "--array", "-j1", "case*/script.py", env=env, prefix=other_host("node7"))
    wait_for(lambda: len(begun(project)) == 1)
    here = task(project, 2)
    wait_for(lambda: len(begun(project)) == 2)
    second = task(project, 2, "post1/script.py")
    time.sleep(2)
    assert "post1" not in begun(project)
    (project.path / "hold").unlink()
    end(elsewhere, here, second)
    assert begun(project)["post1"] == 1
