"""The job script for Grid Engine, and what its commands say: pure functions."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sharedenv.cluster.grid_engine import _accounted, _indices
from sharedenv.cluster.qsub import job_name, log_path, script_text, without_hold
from sharedenv.cluster.sbatch import Job, SbatchOptions
from sharedenv.errors import SharedenvError

FOLDER = "/p/.sharedenv/runs/20261130-120000/jobs/2"


def job(options: SbatchOptions | None = None, **fields: Any) -> Job:
    made = Job(job_name(f"{FOLDER}/job.sh"), FOLDER, "/p", ("python", "it's"), options or SbatchOptions(), tasks=3)
    return replace(made, **fields)


def directives(text: str) -> list[str]:
    return [line.removeprefix("#$ ") for line in text.splitlines() if line.startswith("#$ ")]


def test_what_is_asked_stands_in_the_script() -> None:
    options = SbatchOptions(time="1:00:00", partition="long.q", account="phys", more=("-l h_vmem=4G", "-l gpu=1,mem=2G"), setup=("module load gcc",))
    text = script_text(job(options, max_running=2))
    assert directives(text) == [
        "-N sharedenv-20261130-120000-2",
        "-S /bin/bash -j y -o /dev/null -wd /",
        "-V",
        "-r y",
        "-notify",
        "-t 1-3 -tc 2",
        "-l h_rt=3600,s_rt=3540",
        "-q long.q",
        "-P phys",
        "-l h_vmem=4G",
        "-l gpu=1,mem=2G",
    ]
    lines = text.splitlines()
    assert lines.index("cd -- /p || exit") < lines.index("module load gcc") < lines.index("""exec python 'it'"'"'s'""")
    assert log_path(job(), "17") == f"{FOLDER}/17.*.out"


@pytest.mark.parametrize(
    ("time", "margin", "limits"),
    [
        ("10", None, "-l h_rt=600,s_rt=540"),
        ("0:30", None, "-l h_rt=30,s_rt=27"),
        ("1-00:00:00", 600, "-l h_rt=86400,s_rt=85800"),
        ("0:10", 60, "-l h_rt=10,s_rt=1"),
    ],
)
def test_a_time_limit_is_told_as_usr1_before_it(time: str, margin: int | None, limits: str) -> None:
    assert limits in directives(script_text(job(SbatchOptions(time=time, grace=margin))))


def test_a_limit_without_end_is_none() -> None:
    assert not any("h_rt" in line for line in directives(script_text(job(SbatchOptions(time="UNLIMITED")))))


@pytest.mark.parametrize("folder", ["a b", "it's", "$HOME", "a:b,c", 'quo"te', "line\nbreak", "back\\slash", "%a", "é"])
def test_what_tasks_print_lands_in_any_folder(tmp_path: Path, folder: str) -> None:
    """bash itself appends it: qsub -o takes : , and $ in a path for its own."""
    place = tmp_path / folder
    place.mkdir()
    script = tmp_path / "job.sh"
    script.write_text(script_text(job(folder=str(place), start=str(place), command=("pwd",))))
    subprocess.run(["bash", str(script)], env={"JOB_ID": "7", "SGE_TASK_ID": "2", "PATH": "/usr/bin:/bin"}, check=True)
    assert (place / "7.2.out").read_text() == f"{place}\n"


@pytest.mark.parametrize("text", ["-t 1-3", "-o /tmp", "-N name", "-b y", "-sync y", "-cwd", "-@ file", "-tc 3", "-q long.q", "gres=gpu", "", "'", "-", "x -t 1"])
def test_what_submit_decides_itself_is_refused(text: str) -> None:
    with pytest.raises(SharedenvError) as caught:
        script_text(job(SbatchOptions(more=(text,))))
    assert "Grid Engine" in caught.value.message and (caught.value.hint or "").startswith("sharedenv submit")


@pytest.mark.parametrize("text", ['-A "a\nb"', "-A 'a\"b'"])
def test_what_qsub_could_not_read_in_a_script_is_refused(text: str) -> None:
    with pytest.raises(SharedenvError, match="can't pass"):
        script_text(job(SbatchOptions(more=(text,))))


def test_what_held_a_job_does_not_hold_the_one_that_goes_on() -> None:
    assert without_hold(("-h", "-hold_jid 7", "-l h_vmem=4G", "-h u")) == ("-l h_vmem=4G",)


def test_a_word_with_a_space_keeps_it() -> None:
    assert '-ac "name=a b"' in directives(script_text(job(SbatchOptions(more=("-ac 'name=a b'",)))))


@pytest.mark.parametrize(
    ("text", "indices"),
    [("", [None]), ("7", [7]), ("2,3", [2, 3]), ("5-9:2", [5, 7, 9]), ("1,4-6:1,9", [1, 4, 5, 6, 9]), ("1-2:1,nonsense", [1, 2])],
)
def test_numbers_of_tasks_as_qstat_writes_them(text: str, indices: list[int | None]) -> None:
    assert list(_indices(text)) == indices


def test_why_a_task_ended_as_qacct_writes_it() -> None:
    entry = "==========\nqname        all.q\nhostname     node1\njobnumber    3\ntaskid       {}\nfailed       {}\nexit_status  137   (Killed)\n"
    text = entry.format(1, "37  : qmaster enforced h_rt, h_cpu, or h_vmem limit") + entry.format("undefined", "0") + entry.format(2, "100 : assumedly after job")
    found = list(_accounted("3", text))
    assert [(task.index, task.node, task.ending) for task in found] == [
        (1, "node1", "its task met its time limit (h_rt), or that of memory"),
        (None, "node1", "its task ended without reporting"),
        (2, "node1", "its task was killed"),
    ]
    assert not any(task.live or task.waiting or task.running for task in found)
