"""The files of an environment are the pool's own, whatever link-mode says; and what an older sharedenv has linked is found and mended."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from sharedenv.report.words import size
from tests.conftest import Project

SAID = "link-mode symlink is passed over"
UV = Path(sys.executable).parent / "uv"


def links(project: Project) -> list[Path]:
    """Packages' files that are links, in all environments."""
    return [path for folder in project.environments for path in folder.glob("lib/**/*") if path.is_symlink()]


@pytest.fixture
def cached(project: Project) -> Project:
    """A project whose uv has a cache of its own, which a test may clean."""
    project.env["UV_CACHE_DIR"] = str(project.path.parent / "cache")
    return project


@pytest.mark.parametrize("where", ["variable", "uv.toml", "pyproject.toml", "script", "user", "site", "chosen"])
def test_nothing_is_linked_into_a_cache(cached: Project, where: str) -> None:
    project, line = cached, 'link-mode = "symlink"\n'
    texts = {
        "uv.toml": ("uv.toml", line),
        "pyproject.toml": ("pyproject.toml", f"[tool.uv]\n{line}"),
        "user": ("config/uv/uv.toml", line),
        "site": ("etc/uv/uv.toml", line),
        "chosen": ("chosen.toml", line),
    }
    if where in texts:
        name, text = texts[where]
        (project.path / name).parent.mkdir(parents=True, exist_ok=True)
        (project.path / name).write_text(text)
    extra = f"[tool.uv]\n{line}" if where == "script" else ""
    project.script("a.py", ["alpha"], "import alpha; print('ran')", extra=extra)
    project.script("b.py", ["beta"], extra=extra)
    env = {"XDG_CONFIG_HOME": str(project.path / "config"), "XDG_CONFIG_DIRS": str(project.path / "etc")}
    env |= {"UV_LINK_MODE": "symlink"} if where == "variable" else {}
    env |= {"UV_CONFIG_FILE": "chosen.toml"} if where == "chosen" else {}
    assert project.call("build", "a.py", "b.py", env=env).stderr.count(SAID) == 1
    assert not links(project)
    assert SAID not in project.call("build", "a.py", "b.py", env=env).stderr
    shutil.rmtree(project.env["UV_CACHE_DIR"])
    project.call("build", "--check", "a.py", env=env)
    project.call("verify", "a.py")
    assert project.call("exec", "a.py", env=env).stdout == "ran\n"


@pytest.mark.parametrize(
    ("env", "file", "extra", "names"),
    [
        ({"UV_LINK_MODE": "copy"}, "", "", 1),
        ({}, "copy", "", 1),
        ({}, "symlink", "copy", 1),
        ({"UV_LINK_MODE": "symlink"}, "copy", "", 1),  # what else is said holds
        ({}, "hardlink", "", 2),
        ({"UV_LINK_MODE": "hardlink"}, "copy", "", 2),
    ],
)
def test_other_modes_are_the_users(project: Project, env: dict[str, str], file: str, extra: str, names: int) -> None:
    if file:
        (project.path / "uv.toml").write_text(f'link-mode = "{file}"\n')
    project.script("s.py", ["alpha"], extra=f'[tool.uv]\nlink-mode = "{extra}"' if extra else "")
    project.call("build", "s.py", env=env)
    [module] = project.environments[0].glob("lib/*/site-packages/alpha.py")
    assert min(module.stat().st_nlink, 2) == names
    shown = json.loads(project.call("show", "--json", "s.py").stdout)["environment"]
    linked = sum(path.lstat().st_size for path in project.environments[0].rglob("*") if path.lstat().st_nlink > 1 and not path.is_dir())
    assert shown["linked_bytes"] == linked and (linked >= module.stat().st_size or names == 1)
    assert ("by links, with uv's cache or others; removed, it frees " in project.call("show", "s.py").stdout) == bool(linked)
    whole = f"{size(shown['bytes'])}, of which {size(linked)} stay in uv's cache or elsewhere" if linked else size(shown["bytes"])
    each = f"{size(shown['bytes'])}, {size(linked)} of it shared" if linked else size(shown["bytes"])
    told = project.call("prune", "--unused-for", "0s", "--dry-run")
    assert f"would remove {shown['name']} ({each}): unused for " in told.stdout
    assert told.stderr == f"would remove 1 environment ({whole}), kept 0\n"
    pruned = json.loads(project.call("prune", "--unused-for", "0s", "--json").stdout)
    assert (pruned["removed"][0]["linked_bytes"], pruned["freed"]) == (linked, shown["bytes"] - linked)


@pytest.fixture
def linked(cached: Project) -> Project:
    """A pool as an older sharedenv made it: its one environment is links into uv's cache."""
    uv = cached.path.parent / "uv-that-links"
    uv.write_text(f'#!/bin/sh\ncase " $* " in *" sync "*) exec {shlex.quote(str(UV))} "$@" --link-mode symlink;; esac\nexec {shlex.quote(str(UV))} "$@"\n')
    uv.chmod(0o755)
    cached.script("s.py", ["alpha", "tool"], "import alpha; print('ran')")
    cached.call("build", "s.py", env={"SHAREDENV_UV": str(uv)})
    assert links(cached)
    return cached


def test_verify_names_what_hangs_on_a_cache(linked: Project) -> None:
    done = linked.call("verify", status=1)
    assert f"of its files are links, and as good as what is in {linked.env['UV_CACHE_DIR']}" in done.stdout
    assert linked.call("exec", "s.py").stdout == "ran\n"  # as long as it holds
    linked.call("verify", "--repair")
    linked.call("verify")
    assert not [path for path in links(linked) if str(linked.environments[-1]) in str(path)]


def test_files_that_went_with_the_cache_are_named(linked: Project) -> None:
    shutil.rmtree(linked.env["UV_CACHE_DIR"])
    told = linked.call("build", "--check", "s.py", status=1).stderr
    assert ".dist-info/METADATA and " in told and "more are gone" in told
    assert "  missing: lib/" in linked.call("verify", status=1).stdout


@pytest.mark.parametrize("command", ["build", "run"])
def test_what_went_with_the_cache_is_built_anew(linked: Project, command: str) -> None:
    shutil.rmtree(linked.env["UV_CACHE_DIR"])
    assert "more are gone" in linked.call(command, "s.py").stderr
    assert linked.call("exec", "s.py").stdout == "ran\n"
    linked.call("verify", "s.py")
