"""The scripts beside the package: typed as it is, described, and with options that do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import tomli

from tests.readme import README

ROOT = README.parent
SCRIPTS = ROOT / "scripts"
PYTHON = {path.name for path in SCRIPTS.iterdir() if path.is_file() and "python" in path.read_text().partition("\n")[0]}


def test_each_that_is_python_is_typed() -> None:
    files = tomli.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
    assert {Path(name).name for name in files if name.startswith("scripts/")} == {name for name in PYTHON if "." not in name}


def test_each_has_its_line() -> None:
    text = (SCRIPTS / "README.md").read_text()
    there = {path.name for path in SCRIPTS.iterdir() if path.is_file() and path.suffix in ("", ".py")}
    assert there <= set(re.findall(r"`([\w.-]+)`", text))
    assert set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) <= there


def test_nobody_gets_programs_that_were_not_asked_for(tmp_path: Path) -> None:
    """`scripts/test` with a fake of all that it calls: what it would have done."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "scripts" / "test").write_text((SCRIPTS / "test").read_text())
    for name in ("scripts/test", "scripts/setup", "scripts/system-packages", ".venv/bin/python", ".venv/bin/coverage"):
        path = tmp_path / name
        if name != "scripts/test":
            path.write_text(f'#!/bin/sh\necho "{path.name} $*"\n')
        path.chmod(0o755)

    def calls(*words: str, **variables: str) -> list[str]:
        env = {"PATH": os.environ["PATH"], "TEST_PROCESSES": "2", **variables}
        done = subprocess.run([tmp_path / "scripts" / "test", *words], env=env, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    suite = "-m pytest -n 2 --dist loadgroup"
    assert calls() == ["setup test", f"python {suite}"]
    assert calls("--system", "-k", "a b") == ["setup test", "system-packages ", f"python {suite} -k a b"]
    assert calls(CI="true") == ["setup test", "system-packages ", f"python {suite}"]
    measured = calls("--cov", "tests/run/test_run.py")
    assert measured == ["setup test", "coverage erase", f"coverage run {suite} tests/run/test_run.py", "coverage combine --quiet", "coverage report --fail-under=0"]
    assert calls("--cov")[-1] == "coverage report", "the floor is for the whole suite"


def test_readme_says_what_is_installed() -> None:
    [line] = re.findall(r"^packages=\((.*)\)$", (SCRIPTS / "system-packages").read_text(), re.MULTILINE)
    text = re.sub(r"\s+", " ", README.read_text())
    assert f"by `scripts/system-packages`): {re.sub(r' (?=[^ ]+$)', ' and ', line.replace(' ', ', ').replace(', libc6-dev', ' libc6-dev'))}." in text


def test_the_subject_of_a_commit(tmp_path: Path) -> None:
    """The hook of .pre-commit-config.yaml takes 72 characters and no more."""
    [hook] = re.findall(r"bash -c '(.*)' --$", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE)
    for length, status in ((72, 0), (73, 1)):
        (tmp_path / "message").write_text("x" * length + "\n\nWhy.\n")
        assert subprocess.run(["bash", "-c", hook, "--", tmp_path / "message"], check=False).returncode == status


def test_a_suite_leaves_nothing_in_tmpdir(tmp_path: Path) -> None:
    """One test that builds, under pytest as `scripts/test` calls it."""
    words = ["-q", "-p", "no:cacheprovider", "tests/house/test_how_others_broke.py::test_a_bad_script_stops_all_before_anything_runs"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "pytest", "-n", "1", *words], cwd=ROOT, env=env, capture_output=True, check=True)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("pytest-of-")] == []
    assert not list(tmp_path.glob("pytest-of-*/pytest-*/*")), "and what pytest keeps is what failed"
