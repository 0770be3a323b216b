"""`sharedenv export`: the versions of an environment for pip, uv and what reads PEP 751."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.pylock import Pylock
from uv import find_uv_bin

from sharedenv.key.exported import requirements_text
from sharedenv.key.versions import File, Git, Pin, Versions
from tests.conftest import Project
from tests.key.test_canonical import PRINT_LIB, make_library
from tests.pool.test_held import PASSWORD, SHOW, index, private_index
from tests.pool.test_lock import git
from tests.pool.test_sets import begun, run_of
from tests.wheels import make_wheel

__all__ = ["index"]


def uv(project: Project, *words: str) -> str:
    return subprocess.run([find_uv_bin(), *words], cwd=project.path, env=project.env, check=True, capture_output=True, text=True).stdout


def fresh(project: Project, name: str) -> Path:
    """A new environment; its Python."""
    uv(project, "venv", "-q", "--python", sys.executable, name)
    return project.path / name / "bin" / "python"


def installed(project: Project, python: Path) -> dict[str, str]:
    return {package["name"]: package["version"] for package in json.loads(uv(project, "pip", "list", "--format", "json", "--python", str(python)))}


@pytest.fixture
def built(project: Project, index: Path) -> Project:
    make_wheel(index, "beta", "1.0", requires=["alpha"])
    project.script("s.py", ["beta"], SHOW)
    project.build("s.py")
    make_wheel(index, "alpha", "1.1")
    return project


@pytest.mark.parametrize("locked", [False, True])
def test_requirements_that_pip_takes_with_hashes(built: Project, index: Path, locked: bool) -> None:
    if locked:
        built.call("lock", "s.py")
    text = built.call("export", "s.py", "-o", "requirements.txt").stdout
    assert text == ""
    lines = (built.path / "requirements.txt").read_text().splitlines()
    assert lines[0].startswith("# sharedenv export s.py: versions ") and lines[1::2] == ["alpha==1.0 \\", "beta==1.0 \\"]
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--no-index", "--find-links", str(index), "--require-hashes", "--target", "there"]
    subprocess.run([*pip, "-r", "requirements.txt"], cwd=built.path, env=built.env, check=True, capture_output=True)
    assert (built.path / "there/alpha.py").read_text() == "VERSION = '1.0'\n"
    python = fresh(built, "venv")
    uv(built, "pip", "sync", "--require-hashes", "--python", str(python), "requirements.txt")
    assert installed(built, python) == {"alpha": "1.0", "beta": "1.0"}


def test_a_pylock_that_is_valid_and_installs(built: Project) -> None:
    built.call("export", "s.py", "-o", "pylock.toml")
    text = (built.path / "pylock.toml").read_text()
    pylock = Pylock.from_dict(tomllib.loads(text))
    pylock.validate()
    assert [(str(package.name), str(package.version)) for package in pylock.packages] == [("alpha", "1.0"), ("beta", "1.0")]
    assert built.call("export", "--format", "pylock.toml", "s.py").stdout == text
    python = fresh(built, "venv")
    uv(built, "pip", "sync", "--preview", "--python", str(python), "pylock.toml")
    assert installed(built, python) == {"alpha": "1.0", "beta": "1.0"}


def test_by_key_and_by_script_it_is_the_same(built: Project) -> None:
    key = built.call("key", "s.py").stdout[:12]
    by_script = built.call("export", "s.py").stdout
    assert built.call("export", key).stdout.splitlines()[1:] == by_script.splitlines()[1:]
    built.call("prune", "--unused-for", "0s")
    assert built.call("export", "s.py").stdout == by_script, "what is held outlives its environment"
    built.call("export", "nothing", status=2)


def test_what_is_locked_is_exported_before_it_is_built(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    told = project.call("export", "s.py", status=1).stderr
    assert "no versions of s.py are known: it was neither built nor locked" in told and "hint: sharedenv build s.py" in told
    project.call("lock", "s.py")
    assert "alpha==1.0 \\\n    --hash=sha256:" in project.call("export", "s.py").stdout
    told = project.call("export", "s.py", "--format", "pylock.toml", status=1).stderr
    assert "it needs the file of every package\n  cause: not known here: alpha 1.0" in told
    project.build("s.py")
    assert "alpha-1.0-py3-none-any.whl" in project.call("export", "s.py", "--format", "pylock.toml").stdout


def test_a_commit_and_a_folder(project: Project, tmp_path: Path) -> None:
    lib = make_library(tmp_path / "lib", "lib")
    git(lib, "init", "-q", "-b", "main")
    git(lib, "add", "-A")
    git(lib, "commit", "-qm", "first")
    commit = git(lib, "rev-parse", "HEAD")
    project.script("s.py", [f"lib @ git+file://{lib}@{commit}", "alpha"], PRINT_LIB)
    project.script("t.py", ["lib", "alpha"], PRINT_LIB, extra=f'[tool.uv.sources]\nlib = {{ path = "{lib}" }}')
    project.build("s.py", "t.py")
    project.call("export", "s.py", "-o", "requirements.txt")
    text = (project.path / "requirements.txt").read_text()
    assert f"lib @ git+file://{lib}@{commit}\n" in text and "alpha==2.0  # sha256:" in text and "--hash" not in text
    python = fresh(project, "venv")
    uv(project, "pip", "install", "--python", str(python), "-r", "requirements.txt")
    assert installed(project, python) == {"alpha": "2.0", "lib": "1"}
    project.call("export", "s.py", "-o", "pylock.toml")
    Pylock.from_dict(tomllib.loads((project.path / "pylock.toml").read_text())).validate()
    assert "# lib 1 comes from a folder of this machine\n" in project.call("export", "t.py").stdout
    project.call("export", "t.py", "--format", "pylock.toml", status=1)


def test_no_credential_is_exported(project: Project, tmp_path: Path) -> None:
    with private_index(project, tmp_path) as url:
        project.script("s.py", ["alpha"], SHOW, extra=f'[[tool.uv.index]]\nurl = "{url}"\ndefault = true')
        project.script("t.py", [f"alpha @ {url}/alpha/alpha-1.0-py3-none-any.whl"], SHOW)
        project.build("s.py", "t.py")
    for name in ("s.py", "t.py"):
        for form in ("requirements.txt", "pylock.toml"):
            assert PASSWORD not in project.call("export", "--format", form, name).stdout


def test_indexes_beside_that_of_most_packages_are_named() -> None:
    files = (File("wheel", "https://x.org/a.whl", "1" * 64),)
    pins = (Pin("a", "1", "https://one.org", files), Pin("b", "1+cpu", "https://two.org", files), Pin("c", "1", "https://one.org", files))
    text = requirements_text(Versions("3.11", "", pins), "head", str)
    assert text.splitlines()[:2] == ["# head", "--extra-index-url https://two.org"] and "b==1+cpu \\\n" in text
    commit = Pin("d", "1", git=Git("https://x.org/d", "2" * 40))
    text = requirements_text(Versions("3.11", "", (*pins, commit)), "head", str)
    assert f"c==1  # sha256:{'1' * 64}\nd @ git+https://x.org/d@{'2' * 40}\n" in text


def test_what_a_run_was_computed_with_after_everything_has_moved(project: Project, index: Path) -> None:
    run = begun(project, index)
    project.call("build", "--upgrade", "case1/script.py")
    text = project.call("export", "--run", run).stdout
    assert text.startswith(f"# sharedenv export --run {run}: versions ") and " on linux-" in text.partition("\n")[0]
    assert "alpha==1.0 \\\n    --hash=sha256:" in text and "alpha==1.1" in project.call("export", "case1/script.py").stdout
    project.call("export", "--run", run, "-o", "pylock.toml")
    Pylock.from_dict(tomllib.loads((project.path / "pylock.toml").read_text())).validate()
    project.call("prune", "--unused-for", "0s")
    after = project.call("export", "--run", run).stdout
    assert after.partition("\n")[2] == text.partition("\n")[2], "the run has it, whatever the pool has"
    assert after.partition("\n")[0].endswith(", for Python " + ".".join(map(str, sys.version_info[:2])))


def test_a_run_of_two_sets_is_asked_which(project: Project, index: Path) -> None:
    run = begun(project, index, 3, 4)
    project.call("build", "--upgrade", "case1/script.py")
    project.call("run", "--resume", "--upgrade")
    told = project.call("export", "--run", run, status=2).stderr
    [old, new] = re.findall(r"([0-9a-f]{12}): case", told)
    assert "has 2 sets of versions, and a file can say one" in told and f"hint: sharedenv export --run {run} " in told
    for name, version in ((old, "1.0"), (new, "1.1"), ("case2/script.py", "1.0"), ("./case4/script.py", "1.1")):
        assert f"alpha=={version} \\\n" in project.call("export", "--run", run, name).stdout
    by_script = project.call("export", "--run", run, "script.py", cwd=project.path / "case4").stdout
    assert by_script.startswith(f"# sharedenv export --run {run} script.py: ") and "alpha==1.1" in by_script
    told = project.call("export", "--run", run, "case9/script.py", status=2).stderr
    assert "go by case9/script.py" in told and f"hint: sharedenv show --run {run}\n" in told


def test_scripts_of_two_kinds_are_two_sets(project: Project, index: Path) -> None:
    make_wheel(index, "beta", "1.0")
    project.script("a.py", ["alpha"])
    project.script("b.py", ["beta"])
    project.call("run", "a.py", "b.py")
    run = run_of(project)
    project.call("export", "--run", run, status=2)
    assert "\nbeta==1.0" in project.call("export", "--run", run, "b.py").stdout


def test_of_a_set_that_no_result_has_nothing_is_asked(project: Project, index: Path) -> None:
    """All cases failed, and were computed again with what an upgrade brought."""
    run = begun(project, index, 1, 2, 3, 4)
    project.call("build", "--upgrade", "case1/script.py")
    project.call("run", "--resume")
    assert "alpha==1.1" in project.call("export", "--run", run).stdout


def test_a_run_of_which_nothing_is_known(project: Project, index: Path) -> None:
    run = begun(project, index)
    folder = project.pool / "runs" / run / "versions"
    [path] = folder.iterdir()
    path.write_text("damaged")
    told = project.call("export", "--run", run, status=1).stderr
    assert "gone or damaged" in told and f"hint: sharedenv show --run {run}\n" in told
    for journal in folder.parent.glob("results-*"):
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        journal.write_text("".join(json.dumps(line) + "\n" for line in lines if "versions" not in line))
    path.unlink()
    assert "an older sharedenv" in project.call("export", "--run", run, status=1).stderr
    assert "no run 'none' in" in project.call("export", "--run", "none", status=2).stderr
    assert "name KEY or SCRIPT, or --run RUN" in project.call("export", status=2).stderr
    for option in ("--no-lock", "--python=3.11"):
        assert "--run" in project.call("export", "--run", run, option, status=2).stderr


def test_a_folder_in_a_run_is_named_in_a_comment(project: Project, tmp_path: Path) -> None:
    make_library(tmp_path / "lib", "lib")
    project.script("t.py", ["lib"], PRINT_LIB, extra=f'[tool.uv.sources]\nlib = {{ path = "{tmp_path / "lib"}" }}')
    project.call("run", "t.py")
    run = run_of(project)
    assert "# lib 1 comes from a folder of this machine\n" in project.call("export", "--run", run).stdout
    told = project.call("export", "--run", run, "--format", "pylock.toml", status=1).stderr
    assert f"hint: sharedenv export --format requirements.txt --run {run}\n" in told
