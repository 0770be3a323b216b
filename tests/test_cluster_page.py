"""The page "On a cluster" of the README: every command and every job script on it is run, on a real Slurm, in its order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.slurm import Cluster, wait_until

README = Path(__file__).parent.parent / "README.md"

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.timeout(600)]


def page() -> str:
    """The text of the page."""
    found = re.search(r"^## On a cluster\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_every_command_on_the_page(project: Project, cluster: Cluster) -> None:
    project.copies(12, ["tool"], "import sys, tool\nprint('ran in', sys.prefix)")
    commands = project.path.parent / "bin"
    commands.mkdir()
    (commands / "sharedenv").write_text(f'#!/bin/sh\nexec {sys.executable} -m sharedenv "$@"\n')
    (commands / "sharedenv").chmod(0o755)
    env = {**project.env, **cluster.env, "PATH": f"{commands}:{project.env['PATH']}", "TMPDIR": str(project.path.parent)}
    blocks = re.findall(r"^```(console|bash)\n(.*?)^```$", page(), re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in blocks} == {"console", "bash"}
    for kind, text in blocks:
        if kind == "console":
            for command in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
                run_command(command, env, project.path)
                wait_until(lambda: not cluster.call("squeue", "-h"), f"the end of what `{command}` started")
        elif "--taskprolog" in text:
            (project.path / "prolog.sh").write_text(text)
            (project.path / "prolog.sh").chmod(0o755)
        else:
            submit_script(text, cluster, env, project.path)


def run_command(command: str, env: dict[str, str], cwd: Path) -> None:
    """One line after a `$`."""
    done = subprocess.run(
        ["bash", "-c", command], env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def submit_script(text: str, cluster: Cluster, env: dict[str, str], cwd: Path) -> None:
    """A job script, handed to sbatch as its reader would; an array of two where it wants one and names none."""
    script = cwd / "job.sh"
    script.write_text(text)
    array = ["--array=1-2"] if "--array '" in text and "#SBATCH --array" not in text else []
    job = cluster.call("sbatch", "--parsable", f"--output={cwd}/job-%j.out", *array, str(script), env=env, cwd=cwd)
    states = cluster.wait_for_end(job)
    said = "".join(path.read_text() for path in cwd.glob("job-*.out"))
    assert set(states.values()) == {"COMPLETED"}, f"{text}\n{said}"
    if "--check" not in text:
        assert "ran in" in said, f"{text}\n{said}"
    for path in cwd.glob("job-*.out"):
        path.unlink()
