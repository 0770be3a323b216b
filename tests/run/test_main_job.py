"""The main job as a user does it: copies of one script in many folders, one environment, every one run in its own folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Project

BODY = """
import alpha, os, sys
from pathlib import Path
Path("result.txt").write_text(f"{alpha.VERSION} {os.getcwd()} {sys.prefix} {sys.argv[1:]}")
print("done in", Path.cwd().name)
"""


def entries(folder: Path) -> dict[str, tuple[int, int]]:
    """Every entry below a folder: size and inode."""
    return {str(path): (path.lstat().st_size, path.lstat().st_ino) for path in folder.rglob("*")}


def test_two_hundred_copies(project: Project) -> None:
    project.copies(200, ["alpha"], BODY)
    done = project.call("run", "case*/script.py", "--", "an argument")
    (environment,) = project.environments
    results = [(project.path / f"case{i}" / "result.txt").read_text() for i in range(1, 201)]
    assert results == [f"2.0 {project.path}/case{i} {environment} ['an argument']" for i in range(1, 201)]
    assert sorted(done.stdout.splitlines()) == sorted(f"done in case{i}" for i in range(1, 201))
    assert "built 1 environment for 200 scripts (" in done.stderr
    assert "; 199 more would each have had its own)" in done.stderr
    assert "200" in done.stderr.splitlines()[-1] or "200" in done.stderr.splitlines()[-2]


def test_further_copies_cost_the_pool_nothing(project: Project) -> None:
    project.copies(1, ["alpha"], BODY)
    project.call("run", "case1/script.py")
    folders = [project.pool / name for name in ("envs", "keys", "tmp", "trash", "locks", "failures", "logs")]
    before = [entries(folder) for folder in folders]
    project.copies(200, ["alpha"], BODY)
    project.call("run", "case*/script.py", env={"SHAREDENV_UV": "/nonexistent"})
    assert [entries(folder) for folder in folders] == before


def test_a_failing_script_is_told_and_the_rest_runs(project: Project) -> None:
    project.copies(5, ["alpha"], BODY)
    project.script("case3/script.py", ["alpha"], "import sys; print('out'); sys.exit('it broke here')")
    done = project.call("run", "case*/script.py", status=1)
    assert "it broke here" in done.stderr
    assert "case3/script.py" in done.stderr
    assert [i for i in range(1, 6) if not (project.path / f"case{i}" / "result.txt").exists()] == [3]


def test_bad_scripts_are_all_named_and_nothing_runs(project: Project) -> None:
    project.copies(2, ["alpha"], BODY)
    blocks = {
        "unclosed": "# /// script\n# dependencies = []\n",
        "broken": "# /// script\n# dependencies = [\n# ///\n",
        "text": '# /// script\n# dependencies = "alpha"\n# ///\n',
        "specifier": '# /// script\n# dependencies = ["numpy>>1"]\n# ///\n',
        "none": "print('no block')\n",
        "two": "# /// script\n# dependencies = []\n# ///\n\n# /// script\n# dependencies = []\n# ///\n",
        "python": '# /// script\n# requires-python = "3.10 or so"\n# dependencies = []\n# ///\n',
    }
    for name, text in blocks.items():
        (project.path / name).mkdir()
        (project.path / name / "script.py").write_text(text)
    done = project.call("run", "*/script.py", "missing/script.py", status=2)
    assert "error: 8 of 10 scripts can't be used; nothing was done" in done.stderr
    for name in [*blocks, "missing"]:
        assert f"{name}/script.py" in done.stderr
    assert "specifier/script.py:2:" in done.stderr
    assert not list(project.path.glob("*/result.txt"))
    assert not project.pool.exists()


def test_an_environment_that_fails_does_not_stop_the_others(project: Project) -> None:
    project.copies(2, ["alpha"], BODY)
    project.script("case3/script.py", ["alpha==9.9"], BODY)
    done = project.call("run", "case*/script.py", status=3)
    assert "no version of alpha" in done.stderr
    assert len(project.environments) == 1


@pytest.mark.parametrize("name", ["with space", "with 'quote' and \"two\"", "-dash", "dollar$HOME`id`", "tab\tand\nline", "umlaut ü"])
def test_names_of_folders(project: Project, name: str) -> None:
    project.script(f"{name}/script.py", ["alpha"], BODY)
    project.call("run", "*/script.py")
    assert os.path.exists(project.path / name / "result.txt")


def test_a_misspelt_key_is_a_warning_once_for_all_copies(project: Project) -> None:
    for script in project.copies(3, [], "print('x')"):
        script.write_text(script.read_text().replace("dependencies", "dependences"))
    done = project.call("run", "case*/script.py")
    assert done.stderr.count("unknown key `dependences`; did you mean `dependencies`? (in 3 scripts)") == 1
