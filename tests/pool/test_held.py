"""Versions that are held: what a key installs moves at an upgrade and at nothing else (DESIGN, section 3b)."""

from __future__ import annotations

import base64
import http.server
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sharedenv.build.uv_words import lacking
from sharedenv.key.versions import File, Git, Pin, Versions, VersionsError, moved, parse_versions
from tests.build.test_drift import change
from tests.conftest import Project
from tests.faults import wait_for
from tests.key.test_canonical import PRINT_LIB, make_library
from tests.pool.test_health import other_python
from tests.wheels import make_wheel

SHOW = "import alpha; print(alpha.VERSION)"


@pytest.fixture
def index(project: Project, tmp_path: Path) -> Path:
    """A folder of wheels of the test's own, with alpha 1.0 in it; uv's cache is the test's own too."""
    folder = tmp_path / "index"
    make_wheel(folder, "alpha", "1.0")
    project.env |= {"UV_FIND_LINKS": str(folder), "UV_CACHE_DIR": str(tmp_path / "cache")}
    return folder


def purge(project: Project) -> None:
    """Takes one file of the newest environment, as a scratch purge does."""
    newest = max(project.environments, key=lambda path: int(path.name[13:]))
    [victim] = newest.glob("lib/*/site-packages/alpha.py")
    mode = victim.parent.stat().st_mode
    victim.parent.chmod(0o755)
    victim.unlink()
    victim.parent.chmod(mode)


def damage(project: Project) -> None:
    """Changes one file of the newest environment, and not that of uv's cache."""
    newest = max(project.environments, key=lambda path: int(path.name[13:]))
    [victim] = newest.glob("lib/*/site-packages/alpha.py")
    mode = victim.parent.stat().st_mode
    victim.parent.chmod(0o755)
    text = victim.read_text()
    victim.unlink()
    victim.write_text(text + "# changed\n")
    victim.parent.chmod(mode)


def held(project: Project) -> dict[str, Any]:
    """The one file of held versions, read."""
    [path] = (project.pool / "versions").iterdir()
    return tomllib.loads(path.read_text())


def pins(project: Project) -> dict[str, str]:
    """Package → version, as held."""
    packages: list[dict[str, str]] = held(project).get("packages", [])
    return {package["name"]: package["version"] for package in packages}


def again_after_prune(project: Project) -> None:
    project.call("prune", "--unused-for", "0s")
    assert project.environments == []
    project.call("build", "s.py")


def gone(project: Project) -> None:
    newest = max(project.environments, key=lambda path: int(path.name[13:]))
    subprocess.run(["chmod", "-R", "u+w", str(newest)], check=True)
    shutil.rmtree(newest)
    assert "building environment" in project.call("exec", "s.py").stderr


def rebuild(project: Project) -> None:
    project.call("build", "--rebuild", "s.py")


def another_script(project: Project) -> None:
    project.script("t.py", ["alpha"], SHOW)
    project.call("build", "--rebuild", "t.py")


def repair(project: Project) -> None:
    damage(project)
    assert "repaired" in project.call("verify", "--repair").stderr


def purged(*command: str) -> Callable[[Project], None]:
    def story(project: Project) -> None:
        purge(project)
        assert "rebuilding" in project.call(*command).stderr

    return story


STORIES: dict[str, Callable[[Project], None]] = {
    "purge, build": purged("build", "s.py"),
    "purge, run": purged("run", "s.py"),
    "gone, exec": gone,
    "rebuild": rebuild,
    "prune": again_after_prune,
    "repair": repair,
    "another script of the same key": another_script,
}


@pytest.mark.parametrize("story", STORIES)
def test_nothing_but_an_upgrade_moves_a_version(project: Project, index: Path, story: str) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    make_wheel(index, "alpha", "1.1")
    STORIES[story](project)
    assert project.call("exec", "s.py").stdout == "1.0\n"
    assert pins(project) == {"alpha": "1.0"}
    told = project.call("build", "--upgrade", "s.py").stderr
    assert "versions moved\n  alpha 1.0 → 1.1\n" in told
    assert project.call("exec", "s.py").stdout == "1.1\n"
    STORIES[story](project)
    assert project.call("exec", "s.py").stdout == "1.1\n"


def test_the_rest_of_a_run_is_computed_on_what_its_beginning_was(project: Project, index: Path) -> None:
    body = "import alpha, os, pathlib, sys\npathlib.Path('seen').write_text(alpha.VERSION)\nsys.exit(os.path.exists('fail'))"
    scripts = project.copies(4, ["alpha"], body)
    for script in scripts[2:]:
        (script.parent / "fail").touch()
    project.call("run", "case*/script.py", status=1)
    for script in scripts[2:]:
        (script.parent / "fail").unlink()
    make_wheel(index, "alpha", "1.1")
    purge(project)
    project.call("run", "--resume")
    assert [(script.parent / "seen").read_text() for script in scripts] == ["1.0"] * 4
    for script in scripts[:1]:
        (script.parent / "fail").touch()
    project.call("run", "case*/script.py", status=1)
    told = project.call("build", "--upgrade", "case*/script.py").stderr
    assert "has 3 results with the versions before, and 1 to go: sharedenv run --resume --upgrade --run-id" in told


def test_uvs_cache_gone_as_well(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    make_wheel(index, "alpha", "1.1")
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    again_after_prune(project)
    assert project.call("exec", "s.py").stdout == "1.0\n"


def test_a_moved_project_finds_its_wheels(project: Project, index: Path) -> None:
    project.env["UV_FIND_LINKS"] = "wheels"
    shutil.copytree(index, project.path / "wheels")
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    make_wheel(project.path / "wheels", "alpha", "1.1")
    moved_to = project.path.parent / "a b"
    project.path.rename(moved_to)
    project.path = moved_to
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "1.0\n"


def test_what_can_not_be_had_any_more_is_named_with_the_command_that_moves_it(project: Project, index: Path) -> None:
    make_wheel(index, "delta", "1.0")
    project.script("s.py", ["alpha", "delta"], SHOW)
    project.call("build", "s.py")
    (index / "alpha-1.0-py3-none-any.whl").unlink()
    make_wheel(index, "alpha", "1.1")
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    assert "with the versions that are held" in told and "alpha 1.0 can't be had any more" in told and "delta" not in told
    assert told.endswith("hint: sharedenv build --upgrade-package alpha s.py\n")
    assert project.call("exec", "s.py").stdout == "1.0\n", "what is there stays"
    make_wheel(index, "delta", "1.1")
    project.call("build", "--upgrade-package", "alpha", "s.py")
    assert project.call("exec", "s.py").stdout == "1.1\n" and pins(project) == {"alpha": "1.1", "delta": "1.0"}


def test_where_all_is_gone_the_hints_lead_out(project: Project, index: Path) -> None:
    make_wheel(index, "delta", "1.0")
    project.script("s.py", ["alpha", "delta"], SHOW)
    project.call("build", "s.py")
    for name in ("alpha", "delta"):
        (index / f"{name}-1.0-py3-none-any.whl").unlink()
        make_wheel(index, name, "1.1")
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    for _ in range(3):
        words = told.split("hint: ")[1].split()[1:]
        done = project.call(*words, status=None)
        if done.returncode == 0:
            break
        told = done.stderr
    assert project.call("exec", "s.py").stdout == "1.1\n", told


def version_of(python: str) -> tuple[int, int, int, str]:
    """Major, minor and micro version of a Python, and its path."""
    code = "import sys; print(*sys.version_info[:3], getattr(sys, '_base_executable', sys.executable))"
    major, minor, micro, path = subprocess.check_output([python, "-c", code], text=True).split(maxsplit=3)
    return int(major), int(minor), int(micro), path.rstrip("\n")


@pytest.mark.skipif(other_python() is None, reason="there is one Python alone on this machine")
def test_who_is_strict_is_told_why_another_python_is_needed(project: Project, index: Path, tmp_path: Path) -> None:
    older, newer = sorted([version_of(sys.executable), version_of(str(other_python()))])
    minor = f"3.{newer[1]}"
    for name, (*_, python) in (("newer", newer), ("older", older)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "python3").symlink_to(python)
    project.script("s.py", ["alpha"], SHOW, requires_python=f">=3.{older[1]},!=3.{older[1]}.99,<={minor}")
    project.env["PATH"] = f"{tmp_path / 'newer'}"
    project.call("build", "s.py")
    project.env["PATH"] += f":{tmp_path / 'older'}"
    for command, options in ((["exec"], {"SHAREDENV_STRICT_PYTHON": "1"}), (["build", "--strict-python"], {})):
        told = project.call(*command, "s.py", status=None, env=options).stderr
        assert f"it is held at Python {minor}\n         to the letter, as --strict-python has it, requires-python doesn't admit that: >=3." in told, told
        assert told.endswith("hint: sharedenv build --strict-python --upgrade s.py\n")
    project.call("build", "--strict-python", "--upgrade", "s.py")
    assert project.call("exec", "s.py", env={"SHAREDENV_STRICT_PYTHON": "1"}).stdout == "1.0\n"


@pytest.mark.parametrize(("given", "hint"), [("alpha==1.0", "alpha"), ("Alpha_B>=1,<2", "alpha-b"), ("alpha[x]", "alpha")])
def test_an_upgrade_takes_the_name_of_a_package_alone(project: Project, index: Path, given: str, hint: str) -> None:
    project.script("s.py", ["alpha"], SHOW)
    told = project.call("build", "--upgrade-package", given, "s.py", status=2).stderr
    assert f"--upgrade-package takes the name of a package, not '{given}'" in told
    assert "is pinned in the script's dependencies:" in told and f"hint: sharedenv build --upgrade-package {hint} s.py\n" in told


def test_bytes_that_changed_under_one_version_are_named(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    make_wheel(index, "alpha", "1.0", modules={"alpha.py": "VERSION = 'other'\n"})
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    assert "alpha 1.0: the bytes have changed under the same version" in told and "hint: sharedenv build --upgrade-package alpha s.py" in told
    project.call("build", "--upgrade-package", "alpha", "s.py")
    assert project.call("exec", "s.py").stdout == "other\n"


def test_an_upgrade_says_what_came_and_what_went(project: Project, index: Path) -> None:
    make_wheel(index, "old", "1.0")
    make_wheel(index, "delta", "1.0", requires=["old"])
    project.script("s.py", ["alpha", "delta"], SHOW)
    project.call("build", "s.py")
    assert "no version moved" in project.call("build", "--upgrade", "s.py").stderr
    before = held(project)["since"]
    make_wheel(index, "new", "2.0")
    make_wheel(index, "delta", "1.1", requires=["new"])
    make_wheel(index, "alpha", "1.1")
    told = project.call("build", "--upgrade", "s.py").stderr
    assert "versions moved\n  alpha 1.0 → 1.1\n  delta 1.0 → 1.1\n  + new 2.0\n  - old 1.0\n" in told
    assert str(held(project)["since"]) >= str(before)


def test_one_package_is_upgraded_alone(project: Project, index: Path) -> None:
    make_wheel(index, "delta", "1.0")
    project.script("s.py", ["alpha", "delta"], SHOW)
    project.script("t.py", ["alpha"], SHOW)
    project.call("build", "s.py", "t.py")
    make_wheel(index, "alpha", "1.1")
    make_wheel(index, "delta", "1.1")
    make_wheel(index, "delta", "1.0+cpu")
    told = project.call("build", "--upgrade-package", "Delta", "s.py", "t.py").stderr
    assert told.count("versions moved") == 1 and "  delta 1.0 → 1.1\n" in told and "alpha 1.0 →" not in told
    assert project.call("exec", "s.py").stdout == "1.0\n" == project.call("exec", "t.py").stdout
    told = project.call("build", "--upgrade-package", "gone", "s.py", status=2).stderr
    assert "no environment of these scripts has it" in told and "hint: sharedenv show s.py" in told
    project.call("build", "--upgrade-package", "alpha", "--upgrade-package", "delta", "s.py")
    assert project.call("exec", "s.py").stdout == "1.1\n"


def slow_builder(project: Project, folder: Path, *options: str, step: str = "pip compile") -> subprocess.Popen[str]:
    """A build that waits for ``folder``/go at a step of uv's: a first one has installed what it chose, and holds it after that."""
    uv = folder / "uv"
    real = shutil.which("uv", path=project.env["PATH"])
    wait = f"touch {folder}/there; while [ ! -e {folder}/go ]; do sleep 0.05; done"
    uv.write_text(f'#!/bin/bash\nif [[ " $* " == *" {step} "* && ! -e {folder}/there ]]; then {wait}; fi\nexec {shlex.quote(str(real))} "$@"\n')
    uv.chmod(0o755)
    slow = project.start("build", *options, "s.py", env={"SHAREDENV_UV": str(uv)})
    wait_for((folder / "there").exists)
    return slow


def test_an_upgrade_that_waited_for_another_build_resolves_anew(project: Project, index: Path, tmp_path: Path) -> None:
    """It took what the other had built, which is what was held."""
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    slow = slow_builder(project, tmp_path, "--rebuild", step="pip sync")
    make_wheel(index, "alpha", "1.1")
    said = tmp_path / "said"
    with open(said, "w") as file:
        upgrade = project.start("build", "--upgrade", "s.py", stdout=file, stderr=file)
    wait_for(lambda: "waiting for environment" in said.read_text())
    (tmp_path / "go").touch()
    assert slow.wait(120) == 0
    assert upgrade.wait(120) == 0 and "alpha 1.0 → 1.1" in said.read_text(), said.read_text()
    assert project.call("exec", "s.py").stdout == "1.1\n"


@pytest.mark.parametrize("published", [True, False])
def test_two_builders_who_race_for_the_first_build_hold_one_set(project: Project, index: Path, tmp_path: Path, published: bool) -> None:
    project.script("s.py", ["alpha"], SHOW)
    slow = slow_builder(project, tmp_path)
    make_wheel(index, "alpha", "1.1")
    if published:
        for lease in (project.pool / "locks").iterdir():  # as where each node sees its own locks alone
            lease.unlink()
        project.call("build", "s.py")
    else:  # the other is about to publish it
        other = tmp_path / "other" / ".sharedenv"
        project.call("--pool", str(other), "build", "s.py")
        [path] = (other / "versions").iterdir()
        shutil.copy(path, project.pool / "versions")
    (tmp_path / "go").touch()
    told = slow.communicate(timeout=120)[1]
    assert slow.returncode == 0, told
    assert project.call("exec", "s.py").stdout == "1.1\n" and pins(project) == {"alpha": "1.1"}
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "1.1\n"


def older(project: Project) -> None:
    """Makes a pool what a sharedenv that held nothing has left."""
    shutil.rmtree(project.pool / "versions")
    (project.pool / "pool.json").write_text('{"format": 1}\n')


def test_an_environment_of_an_older_sharedenv_gives_its_versions(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    older(project)
    make_wheel(index, "alpha", "1.1")
    assert "not held yet" in project.call("show", "s.py").stdout
    assert project.call("exec", "s.py").stdout == "1.0\n"
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "1.0\n" and pins(project) == {"alpha": "1.0"}
    assert json.loads((project.pool / "pool.json").read_text())["format"] == 2
    older(project)
    assert "alpha 1.0 → 1.1" in project.call("build", "--upgrade", "s.py").stderr
    assert project.call("exec", "s.py").stdout == "1.1\n"


def test_a_commit_of_an_older_sharedenv_is_taken_over(project: Project, index: Path, tmp_path: Path) -> None:
    del project.env["UV_OFFLINE"]
    library = make_library(tmp_path / "repository")
    project.script("s.py", [f"lib @ git+{library.as_uri()}@{commit(library, 'VALUE = 1')}", "alpha"], PRINT_LIB)
    project.call("build", "s.py")
    older(project)
    rebuild(project)
    assert project.call("exec", "s.py").stdout == "1\n" and pins(project) == {"alpha": "1.0", "lib": "1"}


def test_of_an_older_sharedenv_what_is_gone_is_named(project: Project, index: Path) -> None:
    make_wheel(index, "delta", "1.0")
    project.script("s.py", ["alpha", "delta"], SHOW)
    project.call("build", "s.py")
    older(project)
    (index / "alpha-1.0-py3-none-any.whl").unlink()
    make_wheel(index, "alpha", "1.1")
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    assert "alpha 1.0 can't be had any more" in told and "delta" not in told and "hint: sharedenv build --upgrade-package alpha s.py" in told


@pytest.mark.parametrize("number", [1, 2, 3])
def test_formats_of_a_pool(project: Project, index: Path, number: int) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    (project.pool / "pool.json").write_text(json.dumps({"format": number}))
    told = project.call("build", "s.py", status=0 if number < 3 else 2).stderr
    assert ("has format 3; this sharedenv knows formats 1 and 2" in told) == (number == 3)
    assert json.loads((project.pool / "pool.json").read_text()) == {"format": number}, "nothing was built"


def test_a_pool_whose_mark_is_a_colleagues_is_marked(project: Project, index: Path) -> None:
    project.script("s.py", [], "print('ran')")
    project.call("init")
    marker = project.pool / "pool.json"
    marker.chmod(0o444)
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    project.call("build", "s.py", prefix=prefix)
    assert json.loads(marker.read_text()) == {"format": 2, "init": True}


def test_show_says_what_is_held_and_what_is_not(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    told = project.call("show", "s.py").stdout
    assert "held since 20" in told and "Python's patch level, system libraries" in told
    make_library(project.path / "lib")
    project.script("t.py", ["lib"], PRINT_LIB, extra='[tool.uv.sources]\nlib = { path = "lib" }')
    project.call("build", "t.py")
    told = project.call("show", "t.py").stdout
    assert "not held: some of its sources may move" in told and "system libraries, the local folder of lib\n" in told
    project.script("u.py", ["alpha"], SHOW, extra="# locked")
    subprocess.run(["uv", "lock", "-q", "--script", "u.py"], cwd=project.path, env=project.env, check=True)
    project.call("build", "u.py")
    assert "held by its lock file" in project.call("show", "u.py").stdout
    assert len(list((project.pool / "versions").iterdir())) == 1
    quiet = {"UV_NO_INSTALLER_METADATA": "1"}
    project.call("build", "s.py", env=quiet)
    assert "not held: UV_NO_INSTALLER_METADATA is set" in project.call("show", "s.py", env=quiet).stdout


def test_local_folders_move_as_they_did(project: Project, index: Path) -> None:
    library = make_library(project.path / "lib")
    project.script("s.py", ["lib", "alpha"], f"{PRINT_LIB}\n{SHOW}", extra='[tool.uv.sources]\nlib = { path = "lib" }')
    project.call("build", "s.py")
    change(library)
    project.call("build", "s.py")
    assert project.call("exec", "s.py").stdout.splitlines()[0] == "2"
    make_wheel(index, "alpha", "1.1")
    assert "alpha 1.0 → 1.1" in project.call("build", "--upgrade-package", "alpha", "s.py").stderr


def test_no_prune_takes_held_versions_and_prune_all_does(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.script("t.py", ["alpha<9"], "import sys; sys.stdin.read()")
    project.call("build", "s.py", "t.py")
    project.call("prune", "--unused-for", "0s")
    project.call("prune", "--max-size", "0")
    assert project.environments == [] and len(list((project.pool / "versions").iterdir())) == 2
    running = project.start("exec", "t.py", stdin=subprocess.PIPE)
    wait_for(lambda: project.environments and list((project.pool / "used").iterdir()))
    project.call("build", "s.py")
    project.call("prune", "--all", status=None)
    key = project.call("key", "t.py").stdout.split()[0]
    assert [path.name[:64] for path in (project.pool / "versions").iterdir()] == [key]
    running.communicate("", timeout=60)
    project.call("prune", "--all")
    assert not project.pool.exists()


def test_what_an_upgrade_has_left_behind_is_not_taken_up_again(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    make_wheel(index, "alpha", "1.1")
    project.call("build", "--upgrade", "s.py")
    gone(project)
    assert project.call("exec", "s.py").stdout == "1.1\n"


def test_damaged_versions_are_told_and_replaced_on_request(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    [path] = (project.pool / "versions").iterdir()
    path.write_text("schema = 1\n[[packages]")
    assert project.call("exec", "s.py").stdout == "1.0\n", "it is not even read"
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    assert "they are damaged" in told and "hint: sharedenv build --upgrade s.py" in told
    path.write_text("schema = 7\n")
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    assert "another version of sharedenv (schema 7)" in told and "hint: pip install --upgrade sharedenv\n" in told
    project.call("build", "--upgrade", "s.py")
    assert pins(project) == {"alpha": "1.0"}


def contents(environment: Path) -> dict[str, bytes]:
    """All files of an environment but bytecode, and what tells of the one build."""
    own = {"sharedenv.json", "sharedenv.inventory", "uv_cache.json"}
    files = (path for path in environment.rglob("*") if path.is_file() and not path.is_symlink())
    return {
        str(path.relative_to(environment)): path.read_bytes().replace(str(environment).encode(), b"HERE")
        for path in files
        if path.name not in own and path.suffix != ".pyc"
    }


def test_what_is_installed_later_is_the_same_to_the_byte(project: Project, index: Path) -> None:
    make_wheel(index, "tool", "1.0", modules={"tool.py": "def main(): print('ran')\n"}, commands={"tool": "tool:main"})
    project.script("s.py", ["alpha", "tool"], SHOW)
    project.call("build", "s.py")
    project.call("build", "--rebuild", "s.py")
    before, after = map(contents, project.environments)
    records = {name for name in before if name.endswith("RECORD")}
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= records


def source_archive(folder: Path, version: str) -> Path:
    """An sdist of `lib` that builds itself."""
    tree = make_library(folder / "trees" / f"lib-{version}", version)
    for name in ("pyproject.toml", "backend.py"):
        text = (tree / name).read_text()
        (tree / name).write_text(text.replace('version = "1"', f'version = "{version}"').replace("lib-1", f"lib-{version}").replace("Version: 1", f"Version: {version}"))
    (tree / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: lib\nVersion: {version}\n")
    path = folder / f"lib-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tree, tree.name)
    return path


def test_what_is_built_here_is_built_again_from_the_same_source(project: Project, index: Path) -> None:
    source_archive(index, "1")
    project.script("s.py", ["lib"], PRINT_LIB)
    project.call("build", "s.py")
    [file] = held(project)["packages"][0]["files"]
    assert file["kind"] == "sdist" and len(file["sha256"]) == 64
    source_archive(index, "2")
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    rebuild(project)
    assert project.call("exec", "s.py").stdout == "1\n"
    (index / "trees" / "lib-1" / "lib.py").write_text("VALUE = 'other'\n")
    with tarfile.open(index / "lib-1.tar.gz", "w:gz") as archive:
        archive.add(index / "trees" / "lib-1", "lib-1")
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    assert "lib 1: the bytes have changed under the same version" in told


def test_where_no_source_is_known_the_files_are_compared(project: Project, index: Path, tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    real = shutil.which("uv", path=project.env["PATH"])
    uv.write_text(f'#!/bin/bash\nif [[ " $* " == *" pip compile "* ]]; then exit 1; fi\nexec {shlex.quote(str(real))} "$@"\n')
    uv.chmod(0o755)
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py", env={"SHAREDENV_UV": str(uv)})
    assert "1 package by name and version alone" in project.call("show", "s.py").stdout
    make_wheel(index, "alpha", "1.1")
    wheel = (index / "alpha-1.0-py3-none-any.whl").read_bytes()
    make_wheel(index, "alpha", "1.0", modules={"alpha.py": "VERSION = 'other'\n"})
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    assert "alpha 1.0 has other files than it had" in told and "hint: sharedenv build --upgrade-package alpha s.py" in told
    (index / "alpha-1.0-py3-none-any.whl").write_bytes(wheel)
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    rebuild(project)
    assert project.call("exec", "s.py").stdout == "1.0\n"
    assert "by name and version alone" not in project.call("show", "s.py").stdout, "its file is known now"


def test_options_that_the_choice_was_made_under_hold_no_build_up(project: Project, index: Path) -> None:
    options = [
        'constraint-dependencies = ["alpha<2"]', 'override-dependencies = ["alpha>1.0,<3"]',
        'resolution = "lowest"', 'prerelease = "allow"',
    ]  # fmt: skip
    make_wheel(index, "alpha", "1.1rc1")
    project.script("s.py", ["alpha>1.0"], SHOW, extra="\n".join(["[tool.uv]", *options]))
    project.call("build", "s.py")
    make_wheel(index, "alpha", "1.1a1")
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    rebuild(project)
    assert project.call("exec", "s.py").stdout == "1.1rc1\n"


@pytest.mark.skipif(other_python() is None, reason="there is one Python alone on this machine")
def test_another_python_that_appears_moves_nothing(project: Project, index: Path, tmp_path: Path) -> None:
    project.script("s.py", ["alpha"], "import sys; print(sys.version_info[1])")
    project.call("build", "s.py")
    before = project.call("exec", "s.py").stdout
    folder = tmp_path / "newer"
    folder.mkdir()
    for name in ("python3", "python"):
        (folder / name).symlink_to(str(other_python()))
    project.env["PATH"] = f"{folder}:{project.env['PATH']}"
    rebuild(project)
    assert project.call("exec", "s.py").stdout == before
    assert "  Python 3." in project.call("build", "--upgrade", "s.py").stderr
    assert project.call("exec", "s.py").stdout != before
    rebuild(project)
    assert len(list((project.pool / "versions").iterdir())) == 1


USER, PASSWORD = "somebody", "s3cr3t-pa55"


class Private(http.server.SimpleHTTPRequestHandler):
    """An index that wants a password."""

    def do_GET(self) -> None:
        """Lists and files for who knows it."""
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == wanted:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of a server over a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: Private(*rest, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def private_index(project: Project, tmp_path: Path) -> Iterator[str]:
    """URL, password included, of an index with alpha 1.0, in tmp_path/http/alpha/, whose listing it is. uv's cache is the test's own."""
    folder = tmp_path / "http"
    make_wheel(folder / "alpha", "alpha", "1.0")
    project.env["UV_CACHE_DIR"] = str(tmp_path / "cache")
    del project.env["UV_OFFLINE"], project.env["UV_FIND_LINKS"]
    with serving(folder) as port:
        yield f"http://{USER}:{PASSWORD}@127.0.0.1:{port}"


@pytest.mark.parametrize("way", ["variable", "block", "url", "explicit"])
def test_no_credential_is_held_and_all_are_used(project: Project, tmp_path: Path, way: str) -> None:
    with private_index(project, tmp_path) as url:
        dependency, extra = "alpha", ""
        if way == "variable":
            project.env["UV_DEFAULT_INDEX"] = url
        elif way == "block":
            extra = f'[[tool.uv.index]]\nname = "ours"\nurl = "{url}"\ndefault = true'
        elif way == "explicit":
            extra = f'[tool.uv.sources]\nalpha = {{ index = "ours" }}\n[[tool.uv.index]]\nname = "ours"\nurl = "{url}"\nexplicit = true'
        else:
            dependency = f"alpha @ {url}/alpha/alpha-1.0-py3-none-any.whl"
        project.script("s.py", [dependency], SHOW, extra=extra)
        project.call("build", "s.py")
        make_wheel(tmp_path / "http" / "alpha", "alpha", "1.1")
        project.call("build", "--rebuild", "--offline", "s.py")  # from uv's cache
        shutil.rmtree(tmp_path / "cache")
        project.call("build", "--rebuild", "s.py")
        assert project.call("exec", "s.py").stdout == "1.0\n"
        assert all(package.get("files") for package in held(project)["packages"])
        for path in [*(project.pool / "versions").iterdir(), *(project.pool / "logs").iterdir()]:
            assert PASSWORD not in path.read_text()


def test_files_that_have_another_address_now_are_found(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "http"
    wheel = make_wheel(folder / "one", "alpha", "1.0")
    page = folder / "alpha" / "index.html"
    page.parent.mkdir()
    page.write_text(f'<a href="../one/{wheel.name}">{wheel.name}</a>')
    project.env["UV_CACHE_DIR"] = str(tmp_path / "cache")
    del project.env["UV_OFFLINE"], project.env["UV_FIND_LINKS"]
    with serving(folder) as port:
        project.env["UV_DEFAULT_INDEX"] = f"http://{USER}:{PASSWORD}@127.0.0.1:{port}/"
        project.script("s.py", ["alpha"], SHOW)
        project.call("build", "s.py")
        (folder / "one").rename(folder / "two")
        page.write_text(f'<a href="../two/{wheel.name}">{wheel.name}</a>')
        shutil.rmtree(tmp_path / "cache")
        rebuild(project)
    assert "/two/" in held(project)["packages"][0]["files"][0]["url"]
    assert project.call("exec", "s.py").stdout == "1.0\n"


def commit(folder: Path, text: str) -> str:
    """Commits a library; all digits of the commit."""
    (folder / "lib.py").write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(folder)]
    if not (folder / ".git").exists():
        subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "change"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_commit_is_held_that_another_asks_for_as_a_branch(project: Project, index: Path, tmp_path: Path) -> None:
    del project.env["UV_OFFLINE"]
    inner = make_library(tmp_path / "inner")
    first = commit(inner, "VALUE = '1'\n")
    outer = make_library(tmp_path / "outer")
    for path in (outer / "pyproject.toml", outer / "backend.py"):
        path.write_text(path.read_text().replace("lib", "outer"))
    (outer / "backend.py").write_text((outer / "backend.py").read_text().replace('open("outer.py")', 'open("lib.py")'))
    pyproject = outer / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("version =", f'dependencies = ["lib @ git+{inner.as_uri()}"]\nversion ='))
    project.script("s.py", [f"outer @ git+{outer.as_uri()}@{commit(outer, '')}"], PRINT_LIB)
    project.call("build", "s.py")
    commit(inner, "VALUE = '2'\n")
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "1\n"
    assert first in next((project.pool / "versions").iterdir()).read_text()
    assert f"lib 1 ({first[:12]}) → 1 (" in project.call("build", "--upgrade", "s.py").stderr


def test_a_held_set_is_text_and_back() -> None:
    whole = Versions(
        "3.11",
        "2026-01-01T00:00:00Z",
        (
            Pin("a", "1.0+cpu", "https://x.org/simple", (File("wheel", "https://x.org/a-1.0.whl", "0" * 64),)),
            Pin("b", "2", git=Git("https://x.org/b", "1" * 40, "sub")),
            Pin("c", "3", record="2" * 64),
            Pin("d", "4", url="https://x.org/d.zip", files=(File("archive", "https://x.org/d.zip", "3" * 64),)),
        ),
    )
    assert parse_versions(whole.text) == whole and parse_versions(whole.text).text == whole.text
    assert len(whole.digest) == 64
    for text in ["", "schema = 2", "schema = 1\npackages = 3", whole.text.replace("kind", "kinds"), whole.text[:-9]]:
        with pytest.raises(VersionsError):
            parse_versions(text)


def test_what_moved_between_two_sets() -> None:
    def one(*pins: Pin, python: str = "3.11") -> Versions:
        return Versions(python, "", pins)

    assert moved(one(Pin("a", "1")), one(Pin("a", "1"))) == ()
    assert moved(one(Pin("a", "1"), Pin("b", "1")), one(Pin("a", "2"), Pin("c", "1"))) == ("a 1 → 2", "- b 1", "+ c 1")
    assert moved(one(), one(python="3.12")) == ("Python 3.11 → 3.12",)
    wheels = [Pin("a", "1", files=(File("wheel", "https://x.org/a.whl", digit * 64),)) for digit in "12"]
    assert moved(one(wheels[0]), one(wheels[1])) == ("a 1: other bytes under the same version",)
    assert moved(one(wheels[0]), one(Pin("a", "1"))) == ()
    git = [Pin("a", "1", git=Git("https://x.org/a", digit * 40)) for digit in "12"]
    assert moved(one(git[0]), one(git[1])) == (f"a 1 ({'1' * 12}) → 1 ({'2' * 12})",)


def test_uvs_words_for_what_is_lacking() -> None:
    found = lacking("error: Failed to download `alpha==1.0`\n  cause: Hash mismatch for `alpha==1.0`\n")
    assert found and found.names == ("alpha==1.0",) and found.changed
    found = lacking("error: Failed to fetch: `http://x.org/a.whl`\n cause: error sending request for url")
    assert found and found.unreachable and not found.changed
    assert lacking("error: no space left on device") is None


@pytest.mark.parametrize("seed", range(10))
def test_versions_change_at_an_upgrade_and_at_nothing_else(project: Project, index: Path, seed: int) -> None:
    chance = random.Random(seed)
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    seen, newest = "1.0\n", 0
    for _ in range(4):
        step = chance.choice(["publish", "purge", "prune", "rebuild", "repair", "upgrade", "upgrade-package", "cache"])
        if step == "publish":
            newest += 1
            make_wheel(index, "alpha", f"1.{newest}")
        elif step == "purge":
            purge(project)
        elif step == "prune":
            project.call("prune", "--unused-for", "0s")
        elif step == "rebuild":
            project.call("build", "--rebuild", "s.py")
        elif step == "repair":
            damage(project) if project.environments else None
            project.call("verify", "--repair", status=None)
        elif step == "cache":
            shutil.rmtree(project.env["UV_CACHE_DIR"])
        else:
            project.call("build", *(["--upgrade"] if step == "upgrade" else ["--upgrade-package", "alpha"]), "s.py")
            seen = f"1.{newest}\n"
        project.call("build", "s.py")
        assert project.call("exec", "s.py").stdout == seen, f"{seed}: after {step}"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the tool itself wants 3.11")
def test_a_python_that_is_held_is_asked_for(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    [path] = (project.pool / "versions").iterdir()
    path.write_text(path.read_text().replace(f'python = "3.{sys.version_info[1]}"', 'python = "3.99"'))
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    assert "it is held at Python 3.99" in told and "hint: sharedenv build --upgrade s.py" in told
    assert f"Python 3.99 → 3.{sys.version_info[1]}" in project.call("build", "--upgrade", "s.py").stderr
    assert held(project)["python"] == f"3.{sys.version_info[1]}"
