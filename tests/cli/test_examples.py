"""The examples in every command's -h, typed as they stand there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sharedenv.cli.examples import EXAMPLES, examples
from sharedenv.cli.main import COMMANDS
from tests.conftest import Project
from tests.slurm import Cluster

#: what has to come first in the shell, and which examples end with 1 on purpose
BEFORE = {"report": "RUN=$(ls .sharedenv/runs | tail -n 1); ", "join": "RUN=$(sharedenv -q plan 'case*/script.py'); ", "cancel": "RUN=$(ls .sharedenv/runs | tail -n 1); "}
NEEDS_SLURM = ("submit", "cancel")


def cases(project: Project) -> Project:
    """Three cases with their environment built and run once, another script, and a list."""
    for number in (1, 2, 3):
        project.script(f"case{number}/script.py", ["numpy"], "import numpy, sys; print(*sys.argv[1:])")
    project.script("other.py", ["numpy", "scipy"])
    (project.path / "list.txt").write_text("case1/script.py\ncase2/script.py\n")
    project.call("run", "case*/script.py")
    return project


def test_every_command_has_some(project: Project) -> None:
    assert list(EXAMPLES) == list(COMMANDS)
    for name in COMMANDS:
        said = project.call(name, "-h").stdout
        block = said[said.index("  Examples:") :].splitlines()
        assert block == [f"  {line}" for line in examples(name).splitlines()]
        assert max(map(len, block)) < 80, f"{name}: wider than a terminal"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NEEDS_SLURM])
def test_the_examples_can_be_typed(four: Project, tmp_path: Path, name: str) -> None:
    project = cases(four) if name != "init" else four
    project.env["TMPDIR"] = str(tmp_path)
    script = "\n".join(line for line, _ in EXAMPLES[name])
    if name == "build":
        project.call("build", "other.py")  # so that nothing is missing
    said = project.shell(f"set -eo pipefail\n{BEFORE.get(name, '')}{script}")
    assert "error:" not in said and "Traceback" not in said
    if name == "run":
        assert said.count("--steps 1000\n") == 3


@pytest.mark.slurm
def test_the_examples_for_a_cluster_can_be_typed(four: Project, cluster: Cluster) -> None:
    project = cases(four)
    project.env |= cluster.env
    script = "\n".join(line for name in NEEDS_SLURM for line, _ in EXAMPLES[name])
    assert "submitted 3 scripts" in project.shell(f"{BEFORE['cancel']}{script}")
    assert shutil.which("sbatch")
