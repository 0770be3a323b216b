"""The page about Python: what it shows is run, as it stands, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import sharedenv
from tests.conftest import Project
from tests.readme import all_blocks, read


def _run(project: Project, text: str) -> str:
    done = subprocess.run([sys.executable, "-c", text], cwd=project.path, env=project.env, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def _blocks(test: str) -> list[str]:
    return [block.text for block in all_blocks(read("python")) if block.held.endswith(test)]


def test_the_blocks_of_the_page(four: Project) -> None:
    four.copies(3, ["numpy"], "print('hello')")
    four.env["PYTHONPATH"] += ":."
    lines = _run(four, "\n".join(_blocks("test_the_blocks_of_the_page"))).splitlines()
    assert lines[0].startswith("1.0 3.")
    assert sum(line.endswith("succeeded") for line in lines) == 3
    assert lines.count("hello") == 3
    assert (four.path / "case2" / "output.txt").read_text() == "hello\n"
    assert lines[-4] in {"running", "done", "planned"}
    assert lines[-3] == "0"
    assert lines[-2].endswith("can't be used; nothing was done")
    assert lines[-1].startswith("ls ")


def test_the_sweep(four: Project) -> None:
    script, shown = _blocks("test_the_sweep")
    assert len([line for line in script.splitlines() if line]) <= 36
    assert _run(four, script) == shown
    assert (four.path / "sweep.html").stat().st_size > 100_000


def test_every_public_name_is_on_the_page() -> None:
    page = read("python")
    assert [name for name in sharedenv.__all__ if f"`{name}" not in page and f"sharedenv.{name}" not in page and f"{name}`" not in page] == []
