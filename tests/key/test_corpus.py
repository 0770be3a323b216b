"""Scripts as people write them (tests/corpus.py): what is taken, what shares an environment and what is in it, against uv.

Which of them ask for the same is written down by hand there. Here it is read a second time, by tomllib and packaging alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, canonicalize_version
from uv import find_uv_bin

from tests.conftest import Project
from tests.corpus import BUILT, ELSEWHERE, REFUSED
from tests.key.test_canonical import make_library
from tests.key.test_verdicts import uv_takes
from tests.pythons import MINOR

#: what each script does: it says which packages it sees
BODY = """
import importlib.metadata, json, sys
found = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions() if item.locate_file("").is_relative_to(sys.prefix)}
print(json.dumps([__file__.rpartition("/")[2], sorted(found.items())]))
"""


@pytest.fixture
def corpus(project: Project, wheels: Path) -> Project:
    """A project with all that the scripts lean on."""
    shutil.copytree(wheels, project.path / "wheels")
    make_library(project.path / "lib")
    shutil.copytree(project.path / "lib", project.path / "lib.git")
    git = ["git", "-C", str(project.path / "lib.git"), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v1"]):
        subprocess.run([*git, *words], env=project.env, check=True)
    (project.path / "below").mkdir()
    return project


def _write(project: Project, scripts: Mapping[str, str]) -> dict[str, str]:
    """Writes them; path below the project → name of the script."""
    paths = {}
    for number, (name, text) in enumerate(scripts.items()):
        folder = "below/" if name.startswith("below/") or name == "one folder below" else ""
        path = f"{folder}{number}.py"
        filled = text.replace("@HERE@", str(project.path)).replace("@MINOR@", MINOR)
        (project.path / path).write_bytes((filled + BODY).encode())
        paths[path] = name
    return paths


def _all(groups: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: text for scripts in groups.values() for name, text in scripts.items()}


TAKEN = {**_all(BUILT), **_all(ELSEWHERE)}


def test_there_are_enough_of_them() -> None:
    groups = [*BUILT.values(), *ELSEWHERE.values()]
    assert len(TAKEN) == sum(map(len, groups)), "each name stands once"
    assert len(TAKEN) + len(REFUSED) >= 100 and len(groups) >= 40 and len(BUILT) >= 20


def test_what_uv_takes_is_taken_and_nothing_else(corpus: Project) -> None:
    paths = _write(corpus, {**TAKEN, **REFUSED})
    env = {**corpus.env, "UV_PYTHON": MINOR}  # of a script whose Python is not here, too, uv says what is wrong with it
    with ThreadPoolExecutor(2) as pool:
        theirs = dict(zip(paths, pool.map(lambda path: uv_takes(corpus.path / path, env), paths), strict=True))
    assert [name for path, name in paths.items() if theirs[path] != (name in TAKEN)] == []
    told = corpus.call("key", *paths, status=2).stderr
    assert told.startswith(f"error: {len(REFUSED)} of {len(paths)} scripts can't be used; nothing was done\n")
    corpus.call("key", *[path for path, name in paths.items() if name in TAKEN])


def test_the_same_is_asked_for_by_those_of_a_group(corpus: Project) -> None:
    paths = _write(corpus, TAKEN)
    keys = {name: line.split()[0] for name, line in zip(paths.values(), corpus.call("key", *paths).stdout.splitlines(), strict=True)}
    meanings = {name: _meaning((corpus.path / path).read_text(), (corpus.path / path).parent) for path, name in paths.items()}
    expected = sorted(sorted(scripts) for scripts in [*BUILT.values(), *ELSEWHERE.values()])
    assert _grouped(keys) == expected
    assert _grouped(meanings) == expected, "the second reading"


def _grouped(values: Mapping[str, object]) -> list[list[str]]:
    names: dict[object, list[str]] = {}
    for name, value in values.items():
        names.setdefault(value, []).append(name)
    return sorted(sorted(group) for group in names.values())


#: options that say nothing of what is installed
_IDLE = ("link-mode", "compile-bytecode", "native-tls", "reinstall-package")
_PLACES = ("path", "url", "find-links")


def _meaning(text: str, folder: Path) -> str:
    """Equal for those that ask for the same, by a reading of its own."""
    block = re.search(r"^# /// script$\n((?:^#(?: .*)?$\n)*?)^# ///$", text.replace("\r\n", "\n"), re.MULTILINE)
    assert block
    table = tomllib.loads("\n".join(line[2:] for line in block[1].splitlines()))
    uv = {name: _option(name, value, folder) for name, value in table.get("tool", {}).get("uv", {}).items() if name not in _IDLE}
    python = _specifiers(SpecifierSet(table.get("requires-python", "")))
    return json.dumps([python, _requirements(table.get("dependencies", [])), uv], sort_keys=True)


def _requirements(texts: list[str]) -> Any:
    merged: dict[str, tuple[set[str], set[str]]] = {}
    for requirement in map(Requirement, texts):
        place = json.dumps([canonicalize_name(requirement.name), requirement.url, str(requirement.marker or Marker("'a' == 'a'"))])
        extras, specifiers = merged.setdefault(place, (set(), set()))
        extras |= set(map(canonicalize_name, requirement.extras))
        specifiers |= set(_specifiers(requirement.specifier))
    return sorted([place, sorted(extras), sorted(specifiers)] for place, (extras, specifiers) in merged.items())


def _specifiers(specifiers: SpecifierSet) -> list[str]:
    """The zeros at the end mean nothing, but for `~=`, a star and `===`."""
    return sorted(
        item.operator + (item.version if item.operator == "===" else canonicalize_version(
            item.version, strip_trailing_zero=item.operator != "~=" and not item.version.endswith("*")
        ))
        for item in specifiers
    )  # fmt: skip


def _option(name: str, value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {item.lower(): _option(item, of, folder) for item, of in value.items() if of is not False}
    if name.endswith("-dependencies"):
        return _requirements(value)
    if isinstance(value, list):
        return [_option(name, item, folder) for item in value]
    return os.path.normpath(folder / value) if name in _PLACES and "://" not in value else value


@pytest.mark.slow
def test_what_is_installed_is_what_uv_installs(corpus: Project) -> None:
    """All of them by one call, against `uv run` of each group's first."""
    paths = _write(corpus, _all(BUILT))
    told = corpus.call("build", *paths).stderr
    assert len(corpus.environments) == len(BUILT), told
    seen = dict(map(json.loads, corpus.call("run", "--no-build", *paths).stdout.splitlines()))
    assert len(seen) == len(paths)
    firsts = {next(iter(scripts)): group for group, scripts in BUILT.items()}
    chosen = {path: firsts[name] for path, name in paths.items() if name in firsts}
    with ThreadPoolExecutor(2) as pool:
        theirs = dict(pool.map(lambda path: _under_uv_run(corpus, path), chosen))
    assert {group: theirs[path] for path, group in chosen.items()} == {group: seen[path] for path, group in chosen.items()}
    by_group = {group: {json.dumps(seen[os.path.basename(path)]) for path, name in paths.items() if name in scripts} for group, scripts in BUILT.items()}
    assert {group: len(sets) for group, sets in by_group.items()} == dict.fromkeys(BUILT, 1)


def _under_uv_run(project: Project, path: str) -> Any:
    done = subprocess.run(
        [find_uv_bin(), "run", "--quiet", "--script", path], cwd=project.path, env=project.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
