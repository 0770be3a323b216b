"""Packages from this machine's folders, and what brings them along: what is taken anew, when, and what says so."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.build.test_locked import lock
from tests.conftest import Project
from tests.key.test_canonical import PRINT_LIB
from tests.pool.test_held import PASSWORD, USER, serving
from tests.wheels import make_wheel

#: a build backend for a package of one module, whose name, version and requirements stand in its `about.json`
BACKEND = '''\
import json, zipfile
def _wheel(folder, editable=False):
    about = json.load(open("about.json"))
    name, version = about["name"], about["version"]
    info, file = f"{name}-{version}.dist-info", f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{file}", "w") as wheel:
        if editable:
            import os
            wheel.writestr(f"{name}.pth", os.getcwd() + "\\n")
        else:
            wheel.writestr(f"{name}.py", open(f"{name}.py").read())
        needs = "".join(f"Requires-Dist: {need}\\n" for need in about["needs"])
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file
def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder)
def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, True)
'''


def package(folder: Path, name: str, value: str, needs: Sequence[str] = (), sources: str = "", version: str = "1", *, static: bool = True) -> Path:
    """A package of one module, `<name>.VALUE`. ``static``: its version and requirements stand in pyproject.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "about.json").write_text(json.dumps({"name": name, "version": version, "needs": list(needs)}))
    (folder / f"{name}.py").write_text(f"VALUE = {value!r}\n")
    about = f'version = "{version}"\ndependencies = {json.dumps(list(needs))}\n' if static else 'dynamic = ["version", "dependencies"]\n'
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    text = f'[project]\nname = "{name}"\n{about}{system}' + (f"[tool.uv.sources]\n{sources}\n" if sources else "")
    if not (folder / "pyproject.toml").exists() or (folder / "pyproject.toml").read_text() != text:
        (folder / "pyproject.toml").write_text(text)
    return folder


BOTH = "import outer, inner; print(outer.VALUE, inner.VALUE)"


def two(project: Project, value: str, how: str) -> None:
    """A package `outer` that asks for `inner`, from folders beside each other, both of them with this value."""
    inner = package(project.path / "inner", "inner", value, static="dynamic" not in how)
    if "URL" in how:
        package(project.path / "outer", "outer", value, [f"inner @ {inner.as_uri()}"], static="dynamic" not in how)
    else:
        package(project.path / "outer", "outer", value, ["inner"], 'inner = { path = "../inner" }')


@pytest.mark.parametrize("how", ["path → path", "path → file URL", "path → file URL, dynamic", "editable → path", "path → path, locked"])
def test_a_rebuild_takes_what_was_edited_behind_another_folder(project: Project, how: str) -> None:
    two(project, "old", how)
    editable = ", editable = true" if "editable" in how else ""
    project.script("s.py", ["outer"], BOTH, extra=f'[tool.uv.sources]\nouter = {{ path = "outer"{editable} }}')
    if "locked" in how:
        lock(project, "s.py")
    assert project.call("exec", "s.py").stdout == "old old\n"
    for name in ("outer", "inner"):
        # Of another length: an editable module is imported where it lies, and Python takes bytecode of the same second and length for its own.
        (project.path / name / f"{name}.py").write_text("VALUE = 'newer'\n")
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "newer newer\n"
    again = project.path / "again" / ".sharedenv"  # a first build elsewhere, from the same cache of uv's
    (project.path / "inner" / "inner.py").write_text("VALUE = 'newest'\n")
    assert project.call("--pool", str(again), "exec", "s.py").stdout == "newer newest\n"


def test_no_bytecode_stays_of_what_is_replaced(project: Project, tmp_path: Path) -> None:
    """Copied files have the time of the build: of two of one length within one second, the bytecode of one counts as the other's."""
    two(project, "old", "path")
    project.script("s.py", ["outer"], BOTH, extra='[tool.uv.sources]\nouter = { path = "outer" }')
    seen, uv = tmp_path / "seen", tmp_path / "uv"
    look = f'[ "$4" != sync ] || find "$VIRTUAL_ENV"/lib/*/site-packages/ -path "*/.sharedenv/tmp/*.pyc" >>"{seen}"'
    uv.write_text(f'#!/bin/sh\n{look}\nexec "{find_uv_bin()}" "$@"\n')
    uv.chmod(0o755)
    project.env |= {"SHAREDENV_UV": str(uv), "UV_LINK_MODE": "copy"}
    for value in ("one", "two"):
        (project.path / "inner" / "inner.py").write_text(f"VALUE = '{value}'\n")
        project.call("build", "--rebuild", "s.py")
        assert project.call("exec", "s.py").stdout == f"old {value}\n"
    assert seen.read_text() == ""


def test_a_rebuild_takes_what_was_edited_three_folders_down(project: Project) -> None:
    two(project, "old", "path")
    package(project.path / "top", "top", "old", ["outer"], 'outer = { path = "../outer" }')
    project.script("s.py", ["top"], BOTH, extra='[tool.uv.sources]\ntop = { path = "top" }')
    project.call("build", "s.py")
    (project.path / "inner" / "inner.py").write_text("VALUE = 'new'\n")
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "old new\n"


def test_a_dependency_that_an_inner_folder_has_now_is_installed(project: Project) -> None:
    """Its requirements are known when it is built, no sooner."""
    two(project, "old", "path → file URL, dynamic")
    project.script("s.py", ["outer"], BOTH, extra='[tool.uv.sources]\nouter = { path = "outer" }')
    project.call("build", "s.py")
    third = package(project.path / "third", "third", "new")
    package(project.path / "inner", "inner", "new", [f"third @ {third.as_uri()}"], static=False)
    project.script("s.py", ["outer"], "import third; print(third.VALUE)", extra='[tool.uv.sources]\nouter = { path = "outer" }')
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "new\n"


def test_a_folder_with_setup_py_alone(project: Project) -> None:
    """uv builds it with setuptools, which is one of ours here."""
    own = project.path / "own"
    legacy = BACKEND + "import sys\n__legacy__ = sys.modules[__name__]\n"
    make_wheel(own, "setuptools", "99", modules={"setuptools/__init__.py": "", "setuptools/build_meta.py": legacy})
    make_wheel(own, "wheel", "99")
    project.env["UV_FIND_LINKS"] = str(own)
    package(project.path / "lib", "lib", "old")
    (project.path / "lib/pyproject.toml").unlink()
    (project.path / "lib/setup.py").touch()
    project.script("s.py", ["lib"], PRINT_LIB, extra='[tool.uv.sources]\nlib = { path = "lib" }')
    assert project.call("exec", "s.py").stdout == "old\n"
    (project.path / "lib/lib.py").write_text("VALUE = 'new'\n")
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "new\n"


@pytest.mark.parametrize("change", ["a new version", "a new dependency", "a new version further down", "another pyproject.toml, locked"])
def test_check_does_not_call_ready_what_has_changed(project: Project, change: str) -> None:
    locked = "locked" in change  # with another version it would not match its lock file
    two(project, "old", "path")
    project.script("s.py", ["outer"], BOTH, extra='[tool.uv.sources]\nouter = { path = "outer" }')
    if locked:
        lock(project, "s.py")
    assert project.call("build", "--check", "s.py", status=1).stderr.count("not built") == 1
    project.call("build", "s.py")
    assert "1 of 1 environment ready" in project.call("build", "--check", "s.py").stderr
    before = sorted(project.pool.rglob("*"))
    time.sleep(0.05)
    if change == "a new dependency":
        package(project.path / "outer", "outer", "new", ["inner", "alpha"], 'inner = { path = "../inner" }')
    else:
        name = "inner" if "further" in change else "outer"
        needs, sources = ([], "") if name == "inner" else (["inner"], 'inner = { path = "../inner" }')
        package(project.path / name, name, "new", needs, sources, "1" if locked else "2")
        os.utime(project.path / name / "pyproject.toml")
    told = project.call("build", "--check", "s.py", status=1).stderr
    assert "missing: environment" in told and "its sources have changed\n0 of 1 environment ready" in told
    assert len(json.loads(project.call("build", "--check", "--json", "s.py", status=1).stdout)["missing"]) == 1
    assert sorted(project.pool.rglob("*")) == before, "nothing was written"
    project.call("build", "s.py")
    project.call("build", "--check", "s.py")


def test_check_that_can_not_tell_says_so(project: Project) -> None:
    two(project, "old", "path")
    project.script("s.py", ["outer"], BOTH, extra='[tool.uv.sources]\nouter = { path = "outer" }')
    project.call("build", "s.py")
    (project.path / "outer").rename(project.path / "away")
    told = project.call("build", "--check", "s.py").stderr
    assert "can't tell whether its sources have changed: " in told and "1 of 1 environment ready" in told


@pytest.mark.parametrize(
    "option", ['reinstall-package = ["outer"]', 'reinstall-package = ["Inner"]', "reinstall = true"]
)
def test_what_a_script_wants_reinstalled_is_looked_at_once_a_call(project: Project, option: str) -> None:
    two(project, "old", "path")
    extra = f'[tool.uv]\n{option}\n[tool.uv.sources]\nouter = {{ path = "outer" }}'
    project.copies(3, ["outer"], BOTH, extra=extra.replace('"outer" }', '"../outer" }'))
    assert project.call("run", "case*/script.py").stdout == "old old\n" * 3
    assert "building" not in project.call("run", "case*/script.py").stderr
    name = "inner" if "Inner" in option else "outer"
    (project.path / name / f"{name}.py").write_text("VALUE = 'new'\n")
    assert project.call("exec", "case1/script.py").stdout == "old old\n", "a start looks at nothing"
    told = project.call("build", "--check", "case*/script.py", status=1).stderr
    assert f"{name}/{name}.py was edited since (the script says reinstall" in told
    done = project.call("run", "case*/script.py")
    assert done.stdout == ("old new\n" if name == "inner" else "new old\n") * 3
    assert done.stderr.count("rebuilding environment") == 1
    assert "building" not in project.call("build", "case*/script.py").stderr
    assert len(project.environments) == 2
    (project.path / name / f"{name}.py").write_text("VALUE = 'newest'\n")
    project.call("build", "case*/script.py")
    assert "newest" in project.call("exec", "case1/script.py").stdout


def test_what_no_script_wants_reinstalled_is_left(project: Project) -> None:
    two(project, "old", "path")
    project.script("s.py", ["outer"], BOTH, extra='[tool.uv]\nreinstall-package = ["inner"]\n[tool.uv.sources]\nouter = { path = "outer" }')
    project.call("build", "s.py")
    (project.path / "outer" / "outer.py").write_text("VALUE = 'new'\n")
    (project.path / "inner" / "build").mkdir()
    (project.path / "inner" / "build" / "left").touch()
    (project.path / "inner" / "__pycache__").mkdir(exist_ok=True)
    (project.path / "inner" / "__pycache__" / "inner.pyc").touch()
    assert "building" not in project.call("run", "s.py").stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("upgrade = true", "`upgrade` has no effect: versions are held, and `sharedenv build --upgrade SCRIPT` moves them"),
        (
            'upgrade-package = ["alpha", "beta"]',
            "`upgrade-package` has no effect: versions are held, and `sharedenv build --upgrade-package alpha --upgrade-package beta SCRIPT` moves them",
        ),
        ('reinstall-package = ["alpha"]', "`reinstall-package` has no effect: no package of this script comes from a local folder"),
        ("reinstall = true", "`reinstall` has no effect: no package of this script comes from a local folder"),
    ],
)
def test_an_option_without_effect_is_named_once_a_call(project: Project, option: str, said: str) -> None:
    project.copies(3, ["alpha"], "print('ran')", extra=f"[tool.uv]\n{option}")
    for command in ("build", "run", "key"):
        told = project.call(command, "case*/script.py").stderr
        assert f"warning: case1/script.py:5: {said} (in 3 scripts)\n" in told and told.count("has no effect") == 1, told
    assert project.call("exec", "case1/script.py").stderr == ""


@pytest.mark.parametrize("option", ["upgrade = false", "reinstall = false", "reinstall-package = []", "upgrade-package = []"])
def test_an_option_that_asks_for_nothing_is_not_named(project: Project, option: str) -> None:
    project.script("s.py", ["alpha"], "print('ran')", extra=f"[tool.uv]\n{option}")
    assert project.call("key", "s.py").stderr == ""


def url_wheel(project: Project, inner: Path) -> str:
    """A requirement for a wheel at an address that doesn't move, which asks for a local folder."""
    folder = project.path / "http"
    make_wheel(folder, "outer", "1.0", requires=[f"inner @ {inner.as_uri()}", "alpha"], modules={"outer.py": "VALUE = 'wheel'\n"})
    return "outer-1.0-py3-none-any.whl"


def test_behind_what_does_not_move_all_but_the_folder_is_held(project: Project, tmp_path: Path) -> None:
    own = tmp_path / "own"
    make_wheel(own, "alpha", "1.0")
    project.env["UV_FIND_LINKS"] = str(own)
    del project.env["UV_OFFLINE"]
    inner = package(project.path / "inner", "inner", "old")
    name = url_wheel(project, inner)
    body = "import outer, inner, alpha; print(inner.VALUE, alpha.VERSION)"
    with serving(project.path / "http") as port:
        dependency = f"outer @ http://{USER}:{PASSWORD}@127.0.0.1:{port}/{name}"
        project.script("s.py", [dependency], body)
        assert project.call("exec", "s.py").stdout == "old 1.0\n"
        told = project.call("show", "s.py").stdout
        assert "held since 20" in told and "the local folder of inner" in told
        make_wheel(own, "alpha", "1.1")
        assert "rebuilding" not in project.call("build", "s.py").stderr, "a newer alpha is no change"
        package(inner, "inner", "new", version="2")
        assert "its sources have changed" in project.call("build", "s.py").stderr
        assert project.call("exec", "s.py").stdout == "new 1.0\n"
        (inner / "inner.py").write_text("VALUE = 'newest'\n")
        project.call("build", "--rebuild", "s.py")
        assert project.call("exec", "s.py").stdout == "newest 1.0\n"
        make_wheel(own, "delta", "1.0")
        package(inner, "inner", "newest", ["delta"], version="3")
        told = project.call("build", "--rebuild", "s.py", status=3).stderr
        assert "with the versions that are held" in told and "The package `inner` requires `delta`, but it's not installed" in told
        assert told.endswith("hint: sharedenv build --upgrade s.py\n")
        project.call("build", "--upgrade", "s.py")
        assert project.call("exec", "s.py").stdout == "newest 1.1\n"
