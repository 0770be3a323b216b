"""The recipes of docs/workflows.md, run by the tools that they are written for."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.doors.conftest import Tools
from tests.doors.recipes import recipes
from tests.faults import require, wait_for

#: writes beside itself; fails in the middle of it where a file `bad` lies there
BODY = """
import alpha, os, sys
result = open("result.txt", "w")
result.write(f"{os.getcwd()} {alpha.VERSION}\\n")
result.flush()
if os.path.exists("bad"):
    sys.exit(3)
"""


@pytest.fixture
def cases(project: Project) -> Project:
    """Three cases of one environment; `sharedenv` is on PATH."""
    project.copies(3, ["alpha"], BODY)
    project.env["PATH"] = f"{project.command}:{project.env['PATH']}"
    return project


def called(project: Project, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program in the project; all it says is in stdout."""
    return subprocess.run(
        argv, cwd=project.path, env={**project.env, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=240, check=False,
    )  # fmt: skip


def assert_results(project: Project, *names: str) -> None:
    """Exactly these cases have a result, each written in its own folder; they are taken away."""
    found = {path.parent.name: path.read_text() for path in project.path.glob("*/result.txt")}
    assert found == {name: f"{project.path / name} 2.0\n" for name in names}
    for name in names:
        (project.path / name / "result.txt").unlink()


def test_many_first_starts_build_once(cases: Project) -> None:
    refused = cases.call("exec", "script.py", cwd=cases.path / "case1", status=125).stderr
    assert "hint: sharedenv init .." in refused
    cases.call("init")
    started = [cases.start("exec", "script.py", cwd=cases.path / f"case{number}") for number in (1, 2, 3, 1, 2, 3)]
    said = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0] * 6, said
    assert len(cases.environments) == 1
    assert_results(cases, "case1", "case2", "case3")


def test_make(cases: Project) -> None:
    require("make", root=False)
    [text] = recipes("workflows", "make")
    (cases.path / "Makefile").write_text(text)
    (cases.path / "case2/bad").touch()
    done = called(cases, "make", "-k", "-j", "4")
    assert done.returncode == 2
    assert "case2/result.txt] Error 3" in done.stdout
    assert done.stdout.count("built environment") == 1
    assert not (cases.path / "case2/result.txt").exists()
    assert done.stdout.index("built environment") < done.stdout.index("cd case")
    (cases.path / "case2/bad").unlink()
    assert set(re.findall(r"cd (\w+) ", called(cases, "make", "-j", "4").stdout)) == {"case2"}
    cases.call("prune", "--all")
    os.utime(cases.path / "case3/script.py")
    again = called(cases, "make", "-j", "4")
    assert again.returncode == 0
    assert set(re.findall(r"cd (\w+) ", again.stdout)) == {"case3"}
    assert "built environment" in again.stdout
    assert_results(cases, "case1", "case2", "case3")


@pytest.mark.registry
def test_snakemake(cases: Project, tools: Tools) -> None:
    [text] = recipes("workflows", "python")
    snakemake = f"{tools('snakemake')}/snakemake"
    cases.script("a case/script.py", ["alpha"], BODY)
    (cases.path / "Snakefile").write_text(text)
    first = called(cases, snakemake, "--cores", "1", "environments")
    assert first.returncode == 0, first.stdout
    assert len(cases.environments) == 1
    assert not list(cases.path.glob("*/result.txt"))
    (cases.path / "case2/bad").touch()
    done = called(cases, snakemake, "-k", "--cores", "2")
    assert done.returncode == 1
    assert "cd case2 && exec sharedenv exec --no-build script.py' returned non-zero exit status 3" in done.stdout
    (cases.path / "case2/bad").unlink()
    cases.call("prune", "--all")
    again = called(cases, snakemake, "--cores", "2")
    assert again.returncode == 0, again.stdout
    assert set(re.findall(r"wildcards: case=(.*)", again.stdout)) == {"case2"}
    assert "Nothing to be done" in called(cases, snakemake, "--cores", "2").stdout
    assert_results(cases, "a case", "case1", "case2", "case3")


@pytest.mark.parametrize("work", ["work/3f/12ab", "../elsewhere/3f/12ab"])
def test_a_script_that_is_linked_into_a_work_folder(cases: Project, work: str) -> None:
    cases.call("build", "case*/script.py")
    folder = cases.path / work
    folder.mkdir(parents=True)
    (folder / "script.py").symlink_to(cases.path / "case1/script.py")
    cases.call("exec", "--no-build", "script.py", cwd=folder)
    assert (folder / "result.txt").read_text() == f"{folder.resolve()} 2.0\n"
    (folder / "copied.py").write_bytes((folder / "script.py").read_bytes())
    cases.call("exec", "--no-build", "copied.py", cwd=folder, status=125 if work.startswith("..") else 0)
    cases.call("exec", "--no-build", "copied.py", cwd=folder, env={"SHAREDENV_POOL": str(cases.pool)})


def test_the_process_of_nextflow(cases: Project) -> None:
    """There is no Nextflow: its script is run by a shell, where a link stands for what it would stage."""
    [text] = recipes("workflows", "groovy")
    [script] = re.findall(r'"""\n(.*?)"""', text, re.DOTALL)
    cases.call("build", "case*/script.py")
    folder = cases.path / "work"
    folder.mkdir()
    (folder / "script.py").symlink_to(cases.path / "case1/script.py")
    cases.shell(f"cd work && {script.strip().replace('${script}', 'script.py')} && test -e result.txt")


def test_a_first_line(cases: Project) -> None:
    [text] = recipes("workflows", "python")
    for name in ("case1", "case2", "case3"):
        script = cases.path / name / "script.py"
        script.write_text(text[name == "case3" and text.index("\n") + 1 :].replace("numpy", "alpha") + "import sys\nprint(sys.argv[1:])\n" + BODY)
        script.chmod(0o755)
    cases.call("build", "case*/script.py")
    assert len(cases.environments) == 1
    assert cases.shell("cd case1 && ./script.py --steps 10 'b c'") == "['--steps', '10', 'b c']\n"
    (cases.path / "bin").mkdir()
    (cases.path / "bin/tool").symlink_to("../case1/script.py")
    cases.shell('PATH=$PWD/bin:$PATH && cd case2 && tool')
    assert_results(cases, "case1", "case2")


def test_xargs_and_parallel(cases: Project) -> None:
    require("parallel", root=False)
    cases.script("a case/script.py", ["alpha"], BODY)
    cases.path.joinpath("case4").mkdir()
    cases.path.joinpath("case4/script.py").write_bytes(cases.path.joinpath("a case/script.py").read_bytes())
    cases.path.joinpath("case3/script.py").write_text(cases.path.joinpath("case3/script.py").read_text().replace('"alpha"', '"alpha>=2"'))
    cases.call("build", "*/script.py")
    lines = recipes("workflows", "bash")
    assert len(lines) == 3
    every = ["case1", "case2", "case3", "case4"]
    for line, failed in zip(lines, (1, 123, 1), strict=True):
        env = {"PARALLEL_HOME": str(cases.path / ".parallel")}
        done = called(cases, "bash", "-c", line.replace("case*", "*case*"), env=env)
        assert done.returncode == 0, done.stdout
        assert_results(cases, "a case", *every)
        (cases.path / "case2/bad").touch()
        assert called(cases, "bash", "-c", line, env=env).returncode == failed
        assert_results(cases, *every)
        (cases.path / "case2/bad").unlink()
    assert len((cases.path / "jobs.log").read_text().splitlines()) == 5
    cases.path.joinpath("case2/script.py").write_text(cases.path.joinpath("case2/script.py").read_text().replace('"alpha"', '"alpha<2"'))
    assert called(cases, "bash", "-c", lines[2]).returncode == 1
    assert_results(cases)


def test_the_order_of_which(cases: Project) -> None:
    cases.script("case10/script.py", ["alpha<2"], BODY)
    cases.call("build", "case*/script.py")
    pattern = cases.call("which", "case*/script.py").stdout.splitlines()
    listed = cases.shell("printf '%s\\n' case*/script.py | sharedenv which --from-file -").splitlines()
    assert pattern[3] != pattern[0]
    assert listed == [pattern[0], pattern[3], pattern[1], pattern[2]]


def test_cron(cases: Project, tmp_path: Path) -> None:
    """cron's own variables, and its shell; the table is checked by the real crontab where there is one."""
    [text] = recipes("workflows", "text")
    home = tmp_path / "home"
    home.mkdir()
    text = text.replace("/home/you/.local/bin", str(cases.command)).replace("/home/you/project", str(cases.path))
    if shutil.which("crontab") and "-n" in called(cases, "crontab", "-h").stdout:
        (tmp_path / "table").write_text(text)
        assert called(cases, "crontab", "-n", str(tmp_path / "table")).returncode == 0
    setting, line = text.splitlines()
    command = re.sub(r"^(\S+ +){5}", "", line)
    (cases.path / "uv.toml").write_text(f'find-links = ["{cases.env["UV_FIND_LINKS"]}"]\noffline = true\n')
    bare = {"HOME": str(home), "LOGNAME": "you", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    path = setting.removeprefix("PATH=")
    for env, status in ((bare, 127), ({**bare, "PATH": path, "PYTHONPATH": cases.env["PYTHONPATH"]}, 0)):
        done = subprocess.run(["/bin/sh", "-c", command], env=env, cwd=home, capture_output=True, timeout=240, check=False)
        assert done.returncode == status, (cases.path / "case1/cron.log").read_text()
        assert done.stdout + done.stderr == b"", "cron would send it by mail"
    assert_results(cases, "case1")


def test_a_subprocess_of_python(cases: Project) -> None:
    [text] = recipes("workflows", "python")
    cases.call("build", "case*/script.py")
    caller = {"VIRTUAL_ENV": "/nowhere", "PYTHONHOME": "", "PATH": cases.env["PATH"]}
    assert called(cases, "python3", "-c", text, env=caller).stdout == "case1 ended with 0\n"
    (cases.path / "case1/bad").touch()
    assert called(cases, "python3", "-c", text, env=caller).stdout == "case1 ended with 3\n"
    assert_results(cases, "case1")


def test_terminate_reaches_the_script(cases: Project) -> None:
    cases.call("init")
    cases.script("case1/script.py", [], "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(7))\nopen('ready', 'w')\ntime.sleep(300)")
    process = cases.start("exec", "script.py", cwd=cases.path / "case1")
    wait_for((cases.path / "case1/ready").exists)
    process.terminate()
    assert process.wait(timeout=60) == 7
    cases.script("case2/script.py", [], "import time\nopen('ready', 'w')\ntime.sleep(300)")
    process = cases.start("exec", "script.py", cwd=cases.path / "case2")
    wait_for((cases.path / "case2/ready").exists)
    process.terminate()
    assert process.wait(timeout=60) == -signal.SIGTERM


@pytest.mark.registry
def test_submitit(cases: Project, tools: Tools) -> None:
    """With its executor for one machine: that for Slurm asks sacct, which answers nothing without a data base."""
    [text] = recipes("workflows", "python")
    assert 'folder="submitit-logs")' in text
    (cases.path / "sweep.py").write_text(text.replace('folder="submitit-logs")', 'folder="submitit-logs", cluster="local")'))
    (cases.path / "case2/bad").touch()
    cases.call("build", "case*/script.py")
    done = called(cases, f"{tools('submitit')}/python", "sweep.py")
    assert done.stdout.splitlines()[-3:] == ["case1 done", "case2 failed", "case3 done"], done.stdout
    assert_results(cases, "case1", "case2", "case3")
