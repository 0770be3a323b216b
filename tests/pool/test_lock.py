"""`sharedenv lock`: one lock for all copies (DESIGN, section 3b)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedenv.key.project_lock import LockEntry, LockError, ProjectLock, parse_project_lock
from sharedenv.key.versions import File, Git, Pin, Versions
from sharedenv.start.environ import platform_tag
from tests.build.test_drift import change
from tests.conftest import Project, make_removable
from tests.key.test_canonical import PRINT_LIB, make_library
from tests.pool.test_held import PASSWORD, SHOW, damage, index, private_index, purge, source_archive
from tests.slurm import Cluster
from tests.wheels import make_wheel

__all__ = ["index"]
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
HERE = platform_tag()


def lock_file(project: Project) -> Path:
    return project.path / "sharedenv.lock"


def scripts(project: Project) -> list[dict[str, Any]]:
    """The entries of the file."""
    found: list[dict[str, Any]] = tomllib.loads(lock_file(project).read_text())["script"]
    return found


def table(project: Project, platform: str = HERE, python: str = MINOR) -> dict[str, str]:
    """Package → version of the one entry."""
    [entry] = scripts(project)
    return {name: package["version"] for name, package in entry[platform][python].items()}


def key(project: Project, *words: str) -> str:
    return project.call("key", *words).stdout.split()[0]


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


# what it is for


@pytest.mark.parametrize("command", ["run", "exec", "activate", "build"])
def test_a_folder_copied_without_its_pool_has_the_same_versions(project: Project, index: Path, command: str) -> None:
    project.copies(50, ["beta"], "import alpha; print(alpha.VERSION)")
    make_wheel(index, "beta", "1.0", requires=["alpha"])
    project.call("lock", "case*/script.py")
    other = Project(project.path.parent / "elsewhere" / "copy", project.env)
    shutil.copytree(project.path, other.path, ignore=shutil.ignore_patterns(".sharedenv"))
    make_wheel(index, "alpha", "1.1")
    assert [path.name for path in other.path.rglob("*.lock")] == ["sharedenv.lock"]
    if command == "activate":
        assert other.shell(f'eval "$({shlex.quote(sys.executable)} -m sharedenv activate case7/script.py)" && python case9/script.py').endswith("1.0\n")
    elif command != "build":
        other.call(command, "case7/script.py")
    told = other.call("run", "case*/script.py").stdout
    assert told == "1.0\n" * 50 and len(other.environments) == 1


def test_a_lock_at_the_end_of_a_sweep_moves_nothing_and_resolves_nothing(project: Project, index: Path) -> None:
    project.copies(3, ["alpha"], SHOW)
    project.call("run", "case*/script.py")
    make_wheel(index, "alpha", "1.1")
    told = project.call("lock", "case*/script.py").stderr
    assert f"case1/script.py and 2 more: 1 package for Python {MINOR} on {HERE}, as the pool holds it\n" in told
    assert table(project) == {"alpha": "1.0"}
    assert project.call("run", "case*/script.py").stdout == "1.0\n" * 3
    log = (project.pool / "logs" / f"{key(project, 'case1/script.py')[:12]}.log").read_text()
    assert "$ uv pip sync" in log and "$ uv pip compile" not in log and "$ uv sync" not in log, "nothing is asked of an index"


def test_what_an_older_sharedenv_built_is_locked_with_its_bytes(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    shutil.rmtree(project.pool / "versions")
    make_wheel(index, "alpha", "1.1")
    project.call("lock", "s.py")
    [entry] = scripts(project)
    assert entry[HERE][MINOR]["alpha"].keys() == {"version", "sha256"} and table(project) == {"alpha": "1.0"}


@pytest.mark.parametrize("story", ["purge", "repair", "prune", "rebuild", "another pool", "another pool, exec"])
def test_nothing_but_a_lock_moves_what_is_locked(project: Project, index: Path, story: str) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("lock", "s.py")
    project.call("build", "s.py")
    make_wheel(index, "alpha", "1.1")
    if story == "purge":
        purge(project)
    elif story == "repair":
        damage(project)
        assert "repaired" in project.call("verify", "--repair").stderr
    elif story == "prune":
        project.call("prune", "--all")
    elif story == "rebuild":
        project.call("build", "--rebuild", "s.py")
    else:
        project.env["UV_CACHE_DIR"] += "-other"
        other = project.path.parent / "other"
        other.mkdir()
        for name in ("s.py", "sharedenv.lock"):
            shutil.copy(project.path / name, other)
        command = ("exec", "s.py") if story.endswith("exec") else ("run", "s.py")
        assert project.call(*command, cwd=other).stdout == "1.0\n"
        assert (other / ".sharedenv").is_dir()
    assert project.call("run", "s.py").stdout == "1.0\n"
    told = project.call("lock", "--upgrade", "s.py").stderr
    assert "chosen now\n  alpha 1.0 → 1.1\n" in told
    assert project.call("exec", "s.py").stdout == "1.1\n"


def test_one_package_moves_and_no_other(project: Project, index: Path) -> None:
    make_wheel(index, "gamma", "1.0")
    project.script("s.py", ["alpha", "gamma"], SHOW)
    project.call("lock", "s.py")
    for name in ("alpha", "gamma"):
        make_wheel(index, name, "1.1")
    told = project.call("lock", "--upgrade-package", "Alpha", "s.py").stderr
    assert "alpha 1.0 → 1.1" in told and "gamma" not in told
    assert table(project) == {"alpha": "1.1", "gamma": "1.0"}
    told = project.call("lock", "--upgrade-package", "delta", "s.py", status=2).stderr
    assert "can't upgrade delta: sharedenv.lock has it for none of these scripts" in told


# a script that it does not cover


@pytest.mark.parametrize(("command", "status"), [("build", 3), ("run", 3), ("exec", 125), ("activate", 3), ("which", 3), ("submit", 3)])
def test_a_script_that_is_not_covered_is_an_error(project: Project, index: Path, command: str, status: int) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.script("t.py", ["alpha<3"], SHOW)
    project.call("build", "t.py")
    project.call("lock", "s.py")
    told = project.call(command, "t.py", status=status).stderr
    assert "error: 1 script is not covered by sharedenv.lock\n  cause: t.py: sharedenv.lock has no entry for it\n" in told
    assert "hint: sharedenv lock t.py\n" in told
    assert project.call("exec", "--no-lock", "t.py").stdout == "1.0\n"
    told = project.call(command, "t.py", status=status).stderr  # what was had past the lock is not remembered
    assert "not covered by sharedenv.lock" in told
    project.call("lock", "t.py")
    assert project.call("exec", "t.py").stdout == "1.0\n"


@pytest.mark.parametrize("words", [("run", "--no-build"), ("exec", "--no-build"), ("which",), ("show",), ("export",)], ids=lambda words: words[0])
def test_the_hint_of_what_is_missing_passes_the_lock_by_as_well(project: Project, index: Path, words: tuple[str, ...]) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("lock", "s.py")
    told = project.call(*words, "--no-lock", "s.py", status=None).stderr
    assert "hint: sharedenv build --no-lock s.py\n" in told
    told = project.call(*words, "--python", MINOR, "s.py", env={"SHAREDENV_NO_LOCK": "1"}, status=None).stderr
    assert f"hint: sharedenv build --python {MINOR} --no-lock s.py\n" in told


def test_key_and_status_of_what_is_not_covered(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.script("t.py", ["beta"])
    before = key(project, "t.py")
    project.call("lock", "s.py")
    assert key(project, "t.py") == before, "without an entry the payload is what it was"
    assert key(project, "s.py") != key(project, "--no-lock", "s.py")
    assert "sharedenv.lock: " in project.call("key", "--diff", "s.py", "t.py").stdout
    assert "sharedenv.lock   sha256:" in project.call("key", "--explain", "s.py").stdout
    project.call("build", "s.py")
    [shown] = re.findall(r"versions: +those of sharedenv.lock \((\w{12})\)\n", project.call("show", "s.py").stdout)
    assert shown in project.call("export", "s.py").stdout.splitlines()[0]


def test_a_variable_passes_it_by_and_leaves_no_trace(project: Project) -> None:
    project.script("s.py", ["alpha<2"], SHOW)
    project.call("lock", "s.py")
    lock_file(project).write_text(lock_file(project).read_text().replace("1.1", "1.0"))
    lock_file(project).write_text(re.sub(r', sha256 = "\w+"', "", lock_file(project).read_text()))
    for _ in range(2):
        assert project.call("exec", "s.py", env={"SHAREDENV_NO_LOCK": "1"}).stdout == "1.1\n"
        assert project.call("exec", "s.py").stdout == "1.0\n"


def test_the_lock_of_uv_beside_a_script_comes_first(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    subprocess.run(["uv", "lock", "--script", "s.py", "-q"], cwd=project.path, env=project.env, check=True)
    make_wheel(index, "alpha", "1.1")
    project.script("t.py", ["alpha"], SHOW)
    told = project.call("lock", "s.py", "t.py").stderr
    assert "1 script passed over: a lock file of its own comes first (s.py.lock)" in told
    assert [project.call("exec", name).stdout for name in ("s.py", "t.py")] == ["1.0\n", "1.1\n"]
    assert project.call("lock", "--check", "s.py").returncode == 0


def test_from_a_cases_folder_the_lock_above_counts(project: Project) -> None:
    """There is no pool yet: it is made beside the lock, or nobody would look at it."""
    project.copies(2, ["alpha<2"], SHOW)
    project.call("lock", "case*/script.py")
    for command in ("build", "exec"):
        make_removable(project.path)
        shutil.rmtree(project.pool, ignore_errors=True)
        project.call(command, "script.py", cwd=project.path / "case1")
        assert project.pool.is_dir() and not (project.path / "case1/.sharedenv").exists()


def test_a_lock_between_a_script_and_its_pool_is_no_silent_matter(project: Project) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.script("below/case1/s.py", ["alpha<2"], SHOW)
    project.call("run", "s.py")
    (project.path / "below/sharedenv.lock").write_text("version = 1\n")
    for command, status in (("exec", 125), ("run", 3), ("build", 3)):
        told = project.call(command, "below/case1/s.py", status=status).stderr
        assert "error: the sharedenv.lock in below would not count for below/case1/s.py\n" in told and "hint: sharedenv init below\n" in told
    project.call("init", "below")
    assert "not covered by below/sharedenv.lock" in project.call("exec", "below/case1/s.py", status=125).stderr
    project.call("lock", "below/case1/s.py")
    assert project.call("exec", "below/case1/s.py").stdout == "1.1\n"
    assert project.call("exec", "s.py").stdout == "2.0\n"


@pytest.mark.parametrize("command", ["exec", "which", "activate"])
@pytest.mark.parametrize("init", [False, True])
def test_nor_where_the_pool_has_seen_the_same_bytes_before(project: Project, index: Path, command: str, init: bool) -> None:
    """The fast way sees such a lock, too: a colleague's folder of cases, copied with its lock into a project that has its own pool."""
    if init:
        project.call("init")
    project.script("s.py", ["alpha"], SHOW)
    project.script("below/deep/case1/s.py", ["alpha"], SHOW)
    project.call("run", "s.py", "below/deep/case1/s.py")
    words = {"exec": (command, "below/deep/case1/s.py"), "which": (command, "s.py", "below/deep/case1/s.py")}.get(command, (command, "s.py"))
    assert project.call(*words).stdout
    for path in ("below", "below/deep", "below/deep/case1"):
        lock = project.path / path / "sharedenv.lock"
        lock.symlink_to("nowhere") if path == "below" else lock.write_text("version = 1\n")
        place = project.path / "below/deep/case1"
        for asked, cwd in ((words, project.path), ((command, "s.py"), place), ((command, str(place / "s.py")), Path("/"))):
            if "below" in " ".join(asked) or cwd != project.path:
                told = project.call(*asked, cwd=cwd, status=None)
                assert told.returncode and "sharedenv.lock in " in told.stderr and "would not count for" in told.stderr, (path, asked, cwd)
        assert project.call(command, "s.py").stdout
        assert project.call(*words, env={"SHAREDENV_NO_LOCK": "1"}).stdout
        lock.unlink()
    assert project.call(*words).stdout


# what it says of what it can't use


BROKEN = {
    "version = 2\n": ("it is of version 2, and this sharedenv understands 1", "pip install --upgrade sharedenv"),
    "version = 1\n[[script]\n": ("it is damaged: ", "git checkout -- sharedenv.lock"),
    "": ("it is damaged: what it holds is not what `sharedenv lock` writes", "git checkout -- sharedenv.lock"),
    'version = "one"\n': ("it is of version 'one', which there is not", "git checkout -- sharedenv.lock"),
    "version = 1\n[[script]]\ndependencies = []\n": ("it is damaged: what it holds", "git checkout -- sharedenv.lock"),
    "version = 1\n<<<<<<< HEAD\n=======\n>>>>>>> other\n": ("it holds the conflict markers of a merge", "git diff -- sharedenv.lock"),
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_lock_that_cannot_be_used_is_an_error_that_says_so(project: Project, text: str) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("build", "s.py")
    lock_file(project).write_text(text)
    for command, status in (("build", 3), ("run", 3), ("exec", 125), ("lock", 3)):
        told = project.call(command, "s.py", status=status).stderr
        assert f"error: can't use sharedenv.lock\n  cause: {BROKEN[text][0]}" in told and f"hint: {BROKEN[text][1]}\n" in told
    assert lock_file(project).read_text() == text


@pytest.mark.parametrize(
    "package",
    ['alpha = "1.0"', "alpha = { }", 'alpha = { version = "1.0", sha256 = "abc" }', 'alpha = { version = "1.0", hash = "abc" }', "alpha = 3"],
)
def test_a_package_that_is_none_is_damage(package: str) -> None:
    head = 'version = 1\n[[script]]\nrequires-python = ""\ndependencies = []\n'
    assert parse_project_lock(head)
    with pytest.raises(LockError, match="damaged"):
        parse_project_lock(f'{head}[script.{HERE}."3.11"]\n{package}\n')


def test_another_platform_and_another_python(project: Project) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("lock", "--platform", "darwin-arm64", "s.py")
    told = project.call("run", "s.py", status=3).stderr
    assert f"sharedenv.lock has it for darwin-arm64 alone, and this is {HERE}" in told and "hint: sharedenv lock s.py\n" in told
    project.call("lock", "s.py")
    assert project.call("run", "s.py").stdout == "2.0\n"
    told = project.call("run", "--python", "3.99", "s.py", status=3).stderr
    assert f"sharedenv.lock has it for Python {MINOR} alone, and another is asked for" in told
    assert "hint: sharedenv lock --python 3.99 s.py\n" in told


def test_bytes_that_have_changed_are_no_silent_substitute(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("lock", "s.py")
    make_wheel(index, "alpha", "1.0", modules={"alpha.py": "VERSION = 'other'\n"})
    project.env["UV_CACHE_DIR"] += "-other"
    told = project.call("run", "s.py", status=3).stderr
    assert "with the versions that are in sharedenv.lock\n" in told
    assert "alpha 1.0: the bytes have changed under the same version" in told and "hint: sharedenv lock --upgrade s.py" in told
    (index / "alpha-1.0-py3-none-any.whl").unlink()
    make_wheel(index, "alpha", "1.1")
    told = project.call("run", "s.py", status=3).stderr
    assert "alpha 1.0 can't be had any more" in told and "hint: sharedenv lock --upgrade-package alpha s.py" in told
    project.call("lock", "--upgrade-package", "alpha", "s.py")
    assert project.call("run", "s.py").stdout == "1.1\n"


# the file


def test_the_same_bytes_for_the_same_state(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.script("t.py", ["alpha>=1"], SHOW)
    project.call("lock", "s.py", "t.py")
    first = lock_file(project).read_text()
    make_wheel(index, "alpha", "1.1")
    assert "nothing to change in sharedenv.lock" in project.call("lock", "t.py", "s.py").stderr
    assert lock_file(project).read_text() == first == parse_project_lock(first).text
    lock_file(project).unlink()
    (index / "alpha-1.1-py3-none-any.whl").unlink()
    for name in ("t.py", "s.py"):
        project.call("lock", name)
    assert lock_file(project).read_text() == first


def test_it_is_the_same_for_all_spellings_and_machines(project: Project, index: Path) -> None:
    """What one machine sets (an index, a Python) finds the same entry."""
    project.script("s.py", ["alpha >= 1", "gamma"], SHOW)
    make_wheel(index, "gamma", "1.0")
    project.call("lock", "s.py")
    project.script("t.py", ["Gamma", "alpha>=1.0"], SHOW)
    make_wheel(index, "alpha", "1.1")
    assert project.call("run", "t.py", env={"UV_PRERELEASE": "allow", "UV_PYTHON": MINOR}).stdout == "1.0\n"
    assert len(scripts(project)) == 1


_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_VALUES = st.recursive(
    st.booleans() | st.integers(-5, 2**63) | _TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=6
)
_HASH = st.sampled_from(["0" * 64, "ab" * 32])
_PINS = st.builds(
    Pin, st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,5}", fullmatch=True), st.from_regex(r"[0-9]\.[0-9](\+cpu)?", fullmatch=True),
    files=st.lists(st.builds(File, st.just(""), st.just(""), _HASH), max_size=2, unique=True).map(lambda files: tuple(sorted(files, key=lambda file: file.sha256))),
    git=st.none() | st.builds(Git, _TEXT.map("https://{}".format), st.just("1" * 40), st.sampled_from(["", "sub"])),
)  # fmt: skip
_TABLES = st.builds(
    Versions, st.just("3.11"), st.just(""), st.lists(_PINS, max_size=3, unique_by=lambda pin: pin.name).map(lambda pins: tuple(sorted(pins, key=lambda pin: pin.name)))
)
_ENTRIES = st.builds(
    lambda requires, dependencies, options, table: LockEntry(
        {"requires-python": requires, "dependencies": dependencies, "tool.uv": options}, "3.11", {(HERE, "3.11"): table}
    ),
    _TEXT, st.lists(_TEXT, max_size=3), st.dictionaries(_TEXT, _VALUES, max_size=3), _TABLES,
)  # fmt: skip


@settings(derandomize=True)
@given(st.lists(_ENTRIES, max_size=3))
def test_what_is_written_is_what_is_read(entries: list[LockEntry]) -> None:
    """Whatever scripts ask for: the entries are the same, their ids, and the bytes written again."""
    lock = ProjectLock().with_entries(entries)
    found = parse_project_lock(lock.text)
    assert found.entries == lock.entries and found.text == lock.text


@pytest.mark.parametrize("pair", [(["alpha"], ["gamma"]), (["alpha>=1"], ["alpha<9"]), (["gamma"], ["alpha", "gamma"])], ids=str)
def test_two_branches_that_lock_different_scripts_merge(project: Project, index: Path, pair: tuple[list[str], list[str]]) -> None:
    make_wheel(index, "gamma", "1.0")

    def lock(name: str, dependencies: list[str]) -> None:
        project.script(name, dependencies, SHOW)
        project.call("lock", name)
        git(project.path, "add", name, "sharedenv.lock")
        git(project.path, "commit", "-qm", name)

    git(project.path, "init", "-q", "-b", "main")
    lock("base.py", [])
    git(project.path, "checkout", "-qb", "other")
    lock("one.py", pair[0])
    git(project.path, "checkout", "-q", "main")
    lock("two.py", pair[1])
    git(project.path, "merge", "-q", "-m", "merged", "other")
    assert len(scripts(project)) == 3
    assert lock_file(project).read_text() == parse_project_lock(lock_file(project).read_text()).text
    project.call("lock", "--check", "base.py", "one.py", "two.py")


def test_most_pairs_of_branches_merge(tmp_path: Path) -> None:
    """Into a file with two entries, of one entry each: what keeps them apart are the numbered lines."""

    def entry(name: str) -> LockEntry:
        return LockEntry({"requires-python": "", "dependencies": [name], "tool.uv": {}}, "3.11", {(HERE, "3.11"): Versions("3.11", "", (Pin(name, "1.0"),))})

    base = ProjectLock().with_entries([entry("one"), entry("two")])
    clean = 0
    for number in range(40):
        sides = [base.with_entries([entry(f"{side}{number}")]) for side in ("ours", "theirs")]
        for name, lock in zip(("ours", "base", "theirs"), (sides[0], base, sides[1]), strict=True):
            (tmp_path / name).write_text(lock.text)
        merged = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True, text=True, check=False)
        if merged.returncode == 0:
            clean += 1
            assert parse_project_lock(merged.stdout) == sides[0].with_entries(sides[1].entries.values())
    assert clean >= 35


def test_check_changes_nothing_and_says_what_is_missing(project: Project) -> None:
    project.script("s.py", ["alpha"])
    told = project.call("lock", "--check", "s.py", status=1).stderr
    assert told == "s.py: sharedenv.lock has no entry for it\n\nhint: sharedenv lock s.py\n" and not lock_file(project).exists()
    project.call("lock", "s.py")
    assert project.call("lock", "--check", "s.py").stderr == "sharedenv.lock covers all of them\n"
    project.call("lock", "--check", "--platform", "darwin-arm64", "s.py", status=1)
    [found] = json.loads(project.call("lock", "--check", "--json", "--python", "3.99", "s.py", status=1).stdout)["missing"]
    assert found["scripts"] == [str(project.path / "s.py")] and "Python" in found["reason"]


def test_two_that_lock_at_once_lose_nothing(project: Project) -> None:
    names = [f"s{number}.py" for number in range(6)]
    for number, name in enumerate(names):
        project.script(name, [f"alpha>={number}.0" if number < 3 else "alpha", *(["gamma"] * (number - 3))], SHOW, requires_python=f">=3.{number + 2}")
    processes = [project.start("lock", name) for name in names]
    for process in processes:
        process.communicate(timeout=240)
    assert [process.returncode for process in processes] == [0] * 6
    project.call("lock", "--check", *names)
    assert [path.name for path in project.path.glob("sharedenv.lock*")] == ["sharedenv.lock"]


def test_what_cannot_be_resolved_stops_no_other(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.script("bad.py", ["alpha>9"])
    told = project.call("lock", "bad.py", "s.py", status=3).stderr
    assert "error: can't lock bad.py\n" in told and "hint: grep -in -e alpha bad.py" in told
    assert table(project) == {"alpha": "2.0"}
    document = json.loads(project.call("lock", "--json", "bad.py", "s.py", status=3).stdout)
    assert [item["source"] for item in document["locked"]] == ["kept"] and len(document["errors"]) == 1


# what is chosen is what a build chooses


KINDS = {
    "plain": (["beta", "tool"], ""),
    "extra": (["gamma[more]"], ""),
    "pre": (["delta"], '[tool.uv]\nprerelease = "allow"'),
    "lowest": (["alpha", "gamma[more]"], '[tool.uv]\nresolution = "lowest"'),
    "constraint": (["alpha"], '[tool.uv]\nconstraint-dependencies = ["alpha<2"]'),
    "override": (["beta"], '[tool.uv]\noverride-dependencies = ["alpha==2.0"]'),
    "marker": (["alpha; sys_platform == 'win32'", "tool; python_version >= '3.8'"], ""),
    "none": ([], ""),
    "branch": (["lib"], '[tool.uv.sources]\nlib = { git = "file://LIB", branch = "main" }'),
    "git": (["lib @ git+file://LIB@main"], ""),
    "subdirectory": (["lib"], '[tool.uv.sources]\nlib = { git = "file://MANY", subdirectory = "lib" }'),
    "metadata": (["beta"], '[[tool.uv.dependency-metadata]]\nname = "beta"\nversion = "1.0"\nrequires-dist = ["alpha==1.0"]'),
    "flat": (["other"], '[[tool.uv.index]]\nname = "mine"\nurl = "./mine"\nformat = "flat"'),
    "pinned to an index": (["other"], '[[tool.uv.index]]\nname = "mine"\nurl = "./mine"\nformat = "flat"\nexplicit = true\n[tool.uv.sources]\nother = { index = "mine" }'),
    "no sources": (["alpha"], '[tool.uv]\nno-sources = true\n[tool.uv.sources]\nalpha = { git = "file://LIB" }'),
}


@pytest.mark.slow
@pytest.mark.parametrize("around", ["plain", "uv.toml", "variables"])
def test_what_is_locked_is_what_a_build_would_choose(project: Project, wheels: Path, tmp_path: Path, around: str) -> None:
    index = tmp_path / "index"
    shutil.copytree(wheels, index)
    for version in ("1.0", "2.0rc1"):
        make_wheel(index, "delta", version)
    make_wheel(project.path / "mine", "other", "1.0", requires=["alpha<2"])
    project.env["UV_FIND_LINKS"] = str(index)
    if around == "uv.toml":
        (project.path / "uv.toml").write_text('prerelease = "allow"\nconstraint-dependencies = ["alpha<1.1"]\nresolution = "lowest-direct"\n')
    if around == "variables":
        (tmp_path / "constraints.txt").write_text("alpha!=1.1\n")
        project.env |= {"UV_CONSTRAINT": str(tmp_path / "constraints.txt"), "UV_PRERELEASE": "allow"}
    lib, many = tmp_path / "lib", tmp_path / "many"
    make_library(lib, "lib")
    make_library(many / "lib", "lib")
    for folder in (lib, many):
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "first")
    names = []
    for name, (dependencies, extra) in KINDS.items():
        names.append(f"{name.replace(' ', '-')}.py")
        put = {text: text.replace("LIB", str(lib)).replace("MANY", str(many)) for text in [*dependencies, extra]}
        project.script(names[-1], [put[text] for text in dependencies], extra=put[extra])
    project.call("lock", *names)
    project.call("build", "--no-lock", *names)
    for name in names:
        built = json.loads(project.call("show", "--no-lock", "--json", name).stdout)["environment"]
        document = json.loads(project.call("key", "--json", name).stdout)
        assert "sharedenv.lock" in document["payloads"][document["scripts"][0]["key"]], name
        locked = {item["scripts"][0]: item["packages"] for item in json.loads(project.call("lock", "--json", name).stdout)["locked"]}
        assert locked[str(project.path / name)] == built["packages"], name


def test_a_branch_is_locked_at_its_commit(project: Project, tmp_path: Path) -> None:
    lib = make_library(tmp_path / "lib", "lib")
    git(lib, "init", "-q", "-b", "main")
    git(lib, "add", "-A")
    git(lib, "commit", "-qm", "first")
    commit = git(lib, "rev-parse", "HEAD")
    project.script("s.py", ["lib"], PRINT_LIB, extra=f'[tool.uv.sources]\nlib = {{ git = "file://{lib}", branch = "main" }}')
    project.call("lock", "s.py")
    [entry] = scripts(project)
    assert entry[HERE][MINOR]["lib"]["commit"] == commit and "sha256" not in entry[HERE][MINOR]["lib"]
    first = project.call("exec", "s.py").stdout
    change(lib)
    git(lib, "commit", "-qam", "second")
    for command in (("build", "s.py"), ("build", "--rebuild", "s.py"), ("run", "s.py")):
        project.call(*command)
        assert project.call("exec", "s.py").stdout == first
    assert len(project.environments) == 2, "what is locked does not drift: --rebuild alone has built"
    assert commit[:12] in project.call("lock", "--upgrade", "s.py").stderr
    assert project.call("exec", "s.py").stdout != first


def test_what_lies_in_a_folder_of_this_machine_is_said_not_to_be_locked(project: Project) -> None:
    lib = make_library(project.path / "lib", "lib")
    project.script("s.py", ["lib", "alpha"], PRINT_LIB, extra='[tool.uv.sources]\nlib = { path = "lib" }')
    before = key(project, "s.py")
    told = project.call("lock", "s.py").stderr
    assert "s.py: not locked: lib: what a folder or file of this machine holds is installed as it is\n" in told
    [entry] = scripts(project)
    assert entry["not-locked"].startswith("lib: ") and key(project, "s.py") == before
    first = project.call("run", "s.py").stdout
    change(lib)
    project.call("build", "s.py")
    assert project.call("exec", "s.py").stdout != first


@pytest.mark.parametrize("way", ["block", "url", "explicit"])
def test_no_credential_is_in_the_lock_and_all_are_used(project: Project, tmp_path: Path, way: str) -> None:
    with private_index(project, tmp_path) as url:
        extra = {
            "block": f'[[tool.uv.index]]\nurl = "{url}"\ndefault = true',
            "url": "",
            "explicit": f'[[tool.uv.index]]\nname = "x"\nurl = "{url}"\nexplicit = true\n[tool.uv.sources]\nalpha = {{ index = "x" }}',
        }[way]
        wheel = "alpha/alpha-1.0-py3-none-any.whl"
        project.script("s.py", [f"alpha @ {url}/{wheel}" if way == "url" else "alpha"], SHOW, extra=extra)
        project.call("lock", "s.py")
        [entry] = scripts(project)
        assert PASSWORD not in lock_file(project).read_text()
        assert entry[HERE][MINOR]["alpha"].get("url") == (f"http://{url.partition('@')[2]}/{wheel}" if way == "url" else None)
        assert project.call("exec", "s.py").stdout == "1.0\n"
        shutil.rmtree(tmp_path / "cache")
        project.call("prune", "--all")
        assert project.call("exec", "s.py").stdout == "1.0\n"


def test_a_locked_pool_is_refused_by_a_sharedenv_that_holds_nothing(project: Project) -> None:
    """It would resolve anew: format 2 tells it to be upgraded."""
    project.script("s.py", ["alpha"], SHOW)
    project.call("lock", "s.py")
    project.call("build", "s.py")
    assert json.loads((project.pool / "pool.json").read_text())["format"] == 2
    document = json.loads(project.call("key", "--json", "s.py").stdout)["payloads"]
    assert all("sharedenv.lock" in payload for payload in document.values())
    lock_file(project).unlink()
    document = json.loads(project.call("key", "--json", "s.py").stdout)["payloads"]
    assert all(set(payload) == {"schema", "requires-python", "dependencies", "tool.uv", "lock", "python", "settings", "platform"} for payload in document.values())


def test_submit_under_a_lock(project: Project, index: Path, cluster: Cluster) -> None:
    project.env |= {**cluster.env, "TMPDIR": str(project.path.parent)}
    project.copies(4, ["alpha"], SHOW)
    project.call("lock", "case*/script.py")
    make_wheel(index, "alpha", "1.1")
    project.call("submit", "case*/script.py", "--capture", "out", "--wait")
    assert [(project.path / f"case{number}/out").read_text() for number in range(1, 5)] == ["1.0\n"] * 4
    project.script("other.py", ["alpha<9"], SHOW)
    assert "not covered by sharedenv.lock" in project.call("submit", "other.py", status=3).stderr
    project.call("submit", "--no-lock", "other.py", "--capture", "out", "--wait")
    assert (project.path / "out").read_text() == "1.1\n"


def test_a_source_is_locked_by_its_bytes_and_gives_way_to_a_wheel(project: Project, index: Path) -> None:
    archive = source_archive(index, "1")
    project.script("s.py", ["lib"], PRINT_LIB)
    project.call("lock", "s.py")
    [entry] = scripts(project)
    assert entry[HERE][MINOR]["lib"] == {"version": "1", "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
    source_archive(index, "2")
    assert project.call("exec", "s.py").stdout == "1\n"
    wheel = make_wheel(index, "lib", "2", modules={"lib.py": "VALUE = 'wheel'\n"})
    project.call("lock", "--upgrade", "s.py")
    [entry] = scripts(project)
    assert entry[HERE][MINOR]["lib"] == {"version": "2", "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}
    assert project.call("exec", "s.py").stdout == "wheel\n"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pipe", "it is a pipe"),
        ("zero", "it is a device"),
        ("huge", "it has more than 16 MB"),
        ("nothing", "it is a link to ../gone/sharedenv.lock, which is not there"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
def test_what_lies_in_its_place_is_an_error_and_never_passed_by(project: Project, kind: str, said: str) -> None:
    project.script("s.py", [], "print('ran')\n")
    assert project.call("exec", "s.py").stdout == "ran\n"  # the fast way has it from here on
    path = project.path / "sharedenv.lock"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to({"zero": "/dev/zero", "nothing": "../gone/sharedenv.lock", "loop": "sharedenv.lock"}[kind])
    for command, status in (("exec", 125), ("run", 2), ("which", 2), ("lock", 2), ("export", 2)):
        told = project.call(command, "s.py", status=status).stderr
        assert f"can't read {path}\n  cause: {said}\n" in told, command
    assert project.call("exec", "--no-lock", "s.py").stdout == "ran\n"


def test_a_link_to_a_lock_counts_as_the_file_does(project: Project) -> None:
    project.script("s.py", ["alpha"], "import alpha\nprint(alpha.VERSION)\n")
    project.call("lock", "s.py")
    project.call("build", "s.py")
    locked = project.call("key", "s.py").stdout
    (project.path / "sharedenv.lock").rename(project.path / "elsewhere")
    (project.path / "sharedenv.lock").symlink_to("elsewhere")
    assert project.call("key", "s.py").stdout == locked
    project.call("exec", "--no-build", "s.py")
