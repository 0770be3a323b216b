"""The page "On a cluster" (`sharedenv help cluster`): every command and every job script on it is run, on a real Slurm, in its order."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.house.test_docs import assert_test_exists
from tests.readme import all_blocks, assert_printed, commands, read
from tests.slurm import Cluster, wait_until

PAGE = read("cluster")

pytestmark = pytest.mark.timeout(600)


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
def test_every_command_on_the_page(project: Project, cluster: Cluster) -> None:
    project.copies(12, ["tool"], "import sys, tool\nprint('ran in', sys.prefix)")
    env = {**project.env, **cluster.env, "PATH": f"{project.command}:{project.env['PATH']}", "TMPDIR": str(project.path.parent)}
    found = all_blocks(PAGE)
    assert {block.kind for block in found} == {"console", "bash"}
    for block in found:
        if block.held:
            continue
        text = block.text
        if block.kind == "console":
            for command, shown in commands(text):
                printed = project.shell(command, env)
                if command != "sharedenv status":  # shown of a run with failures: test_readme_output.py
                    assert_printed(shown, printed)
                wait_until(lambda: not cluster.call("squeue", "-h"), f"the end of what `{command}` started")
        elif "--taskprolog" in text:
            (project.path / "prolog.sh").write_text(text)
            (project.path / "prolog.sh").chmod(0o755)
        else:
            submit_script(text, cluster, env, project.path)


def test_every_line_for_another_shell(project: Project) -> None:
    """Those in the text of the page, for csh and fish; a shell that is not here is left out."""
    project.script("case1/script.py", ["tool"])
    project.call("build", "case1/script.py")
    lines = re.findall(r"(csh|fish): (`+) ?(.*?) ?\2[,.)]", PAGE)
    assert [name for name, _, _ in lines] == ["csh", "fish"]
    for name, _, line in lines:
        if (program := shutil.which(name)) is not None:
            (project.path / "job").write_text(f"{line}\ntool\n")
            env = {**project.env, "PATH": f"{project.command}:{project.env['PATH']}", "HOME": str(project.path)}
            done = subprocess.run(
                [program, "job"], env=env, cwd=project.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True
            )
            assert done.stdout == f"tool in {project.environments[0]}\n"


def test_a_job_script_whose_staging_fails_ends_there(project: Project) -> None:
    """`export NAME="$(…)"` would hide that it failed."""
    project.script("case1/script.py", ["tool"])
    [text] = [block.text for block in all_blocks(PAGE) if "sharedenv stage" in block.text]
    (project.path / "job").write_text(text)
    env = {**project.env, "PATH": f"{project.command}:{project.env['PATH']}"}
    done = subprocess.run(["bash", "job"], env=env, cwd=project.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.count("error: ") == 1


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"<!-- (?:held by )?(\w+\.py)::(\w+) -->", PAGE)
    assert len(named) > 15
    for file, name in named:
        assert_test_exists(file, name)


#: the options of the recipes, by what their lines begin with, as the manuals have them
_OPTIONS = {"#PBS": {"-N", "-J", "-l", "-j"}, "#BSUB": {"-J", "-n", "-R", "-W", "-o"}}


def test_the_recipes_for_other_schedulers(project: Project, tmp_path: Path) -> None:
    """None of these schedulers is here: the text is run by a shell, with what each would give it."""
    project.copies(6, [], "import os, sys; open('../ran', 'a').write('x'); sys.exit(os.path.exists('bad'))")
    (project.path / "case2/bad").touch()
    stand_in = tmp_path / "flux"
    stand_in.write_text('#!/bin/bash\n[ "$1" = submit ] && shift\nwhile [[ $1 == --* ]]; do echo "$1" >>"$0.options"; shift; done\nexec "$@"\n')
    stand_in.chmod(0o755)
    env = {**project.env, "PATH": f"{tmp_path}:{project.command}:{project.env['PATH']}", "PBS_O_WORKDIR": str(project.path)}
    [plan] = [command for block in all_blocks(PAGE) if block.kind == "console" for command, _ in commands(block.text) if "RUN=" in command]
    recipes = [block.text for block in all_blocks(PAGE) if block.held]
    assert len(recipes) == 3
    for text in recipes:
        for mark, option in re.findall(r"^(#[A-Z]+) (\S+)", text, re.MULTILINE):
            assert option in _OPTIONS[mark]
        (project.path / "ran").unlink(missing_ok=True)
        (project.path / "join.sh").write_text(text)
        project.shell(f"{plan}; export RUN; bash join.sh || true", env)
        assert (project.path / "ran").read_text() == "x" * 6
    assert {line.partition("=")[0] for line in Path(f"{stand_in}.options").read_text().split()} == {"--cc", "--cores-per-task", "--time-limit"}
    [again] = re.findall(r"`(RUN=\S+ status .*?)`", PAGE)
    last = project.shell("sharedenv status --all | sed -n 2p", env).split()[0]
    assert "planned 1 script" in project.shell(f"RUN={last}; {again}", env)


def submit_script(text: str, cluster: Cluster, env: dict[str, str], cwd: Path) -> None:
    """A job script, handed to sbatch as its reader would; an array of two where it wants one and names none."""
    script = cwd / "job.sh"
    script.write_text(text.replace("--nodes=4", "--nodes=2"))  # all that there are here
    array = ["--array=1-2"] if "--array '" in text and "#SBATCH --array" not in text else []
    job = cluster.call("sbatch", "--parsable", f"--output={cwd}/job-%j.out", *array, str(script), env=env, cwd=cwd)
    states = cluster.wait_for_end(job)
    said = "".join(path.read_text() for path in cwd.glob("job-*.out"))
    assert set(states.values()) == {"COMPLETED"}, f"{text}\n{said}"
    if "--check" not in text:
        assert "ran in" in said, f"{text}\n{said}"
    for path in cwd.glob("job-*.out"):
        path.unlink()
