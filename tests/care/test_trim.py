"""A pool with bounds of its own: builds trim it, `init` sets them, `list` tells them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedenv.care.leaving import DAY
from sharedenv.care.prune import Policy, decide
from sharedenv.pool.bounds import LEAST
from tests.care.test_prune import age, finish, found, gone, sleeper
from tests.conftest import UNPRIVILEGED, Project
from tests.faults import require
from tests.lab import ALICE, BOB, Lab, new_lab


def names(project: Project) -> list[str]:
    return [path.name for path in project.environments]


def marks(project: Project) -> dict[str, object]:
    value: dict[str, object] = json.loads((project.pool / "pool.json").read_text())
    return value


def three(project: Project, *, days: float = 40) -> list[str]:
    """Three environments that were not used for so long; their names."""
    for name, dependency in (("a.py", "alpha"), ("b.py", "beta"), ("t.py", "tool")):
        project.script(name, [dependency], "print('ran')")
    project.call("build", "a.py", "b.py", "t.py")
    age(project, days)
    return names(project)


# ---------------------------------------------------------------- the choice


def test_what_was_used_within_a_week_stays_whatever_the_size() -> None:
    items = [found("a", 40 * DAY), found("b", 8 * DAY), found("c", 6 * DAY)]
    assert gone(items, Policy(max_size=0, spared=LEAST)) == ["a", "b"]
    assert gone(items, Policy(unused_for=30 * DAY, spared=LEAST)) == ["a"]
    assert gone(items, Policy(max_size=200, spared=LEAST)) == ["a"]


def test_a_generation_that_was_replaced_within_the_week_stays_too() -> None:
    items = [found("a", 6 * DAY, published=False, replaced_by="b"), found("b", 0.0)]
    assert gone(items, Policy(max_size=0)) != [] == gone(items, Policy(max_size=0, spared=LEAST))


def test_packing_comes_first_and_what_is_packed_goes_last() -> None:
    old = found("a", 90 * DAY, size=30, manifest=object(), published=False, packed=True)
    items = [old, found("b", 40 * DAY), found("c", 39 * DAY)]
    assert gone(items, Policy(unused_for=30 * DAY, pack=True)) == ["b", "c"]
    assert gone(items, Policy(max_size=140, pack=True)) == ["b"]
    assert gone(items, Policy(max_size=10, pack=True)) == ["a", "b", "c"]
    assert gone(items, Policy(max_size=210)) == ["a"]


def test_what_is_packed_is_needed_and_doubted_as_any_other() -> None:
    item = found("a", 90 * DAY, published=False, packed=True)
    assert item.key is not None
    for policy in (Policy(needed={item.key: "run x needs it"}), Policy(doubt="a run can't be read"), Policy(keep=frozenset([item.key]))):
        assert not decide([item], policy, 1e9, blind=False)[0].removed


# ---------------------------------------------------------------- real pools


def test_init_sets_shows_changes_and_lifts_the_bounds(project: Project) -> None:
    told = project.call("init", "--max-size", "20G", "--unused-for", "30d").stderr
    assert "builds in it remove what is over 20 GB in all or unused for 30 days" in told
    assert (marks(project)["max_size"], marks(project)["unused_for"], marks(project)["init"]) == (20 * 10**9, 30 * DAY, True)
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    assert marks(project)["max_size"] == 20 * 10**9, "a build writes into the same file"
    assert "over 20 GB in all" in project.call("list").stderr
    assert json.loads(project.call("list", "--json").stdout)["bounds"] == {"max_size": 20 * 10**9, "unused_for": 30 * DAY, "pack": False}
    assert "pack what is unused for 30 days" in project.call("init", "--max-size", "none", "--pack").stderr
    assert "max_size" not in marks(project) and "over 20 GB" not in project.call("list").stderr
    told = project.call("init", "--unused-for", "none", "--no-pack").stderr
    assert "builds in it remove nothing" in told and marks(project).keys() <= {"format", "init"}
    project.call("init")
    assert marks(project).keys() <= {"format", "init"}


def test_bounds_of_a_pool_that_is_there_change_nothing_else(project: Project) -> None:
    """A pool that a build has made does not reach into the projects below it from then on."""
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    project.call("init", "--max-size", "1G")
    assert "init" not in marks(project)
    project.call("init")
    assert marks(project)["init"] is True and marks(project)["max_size"] == 10**9


@pytest.mark.parametrize("words", [("--max-size", "20"), ("--unused-for", "6d"), ("--unused-for", "soon"), ("--max-size", "nothing")])
def test_bounds_that_are_none_are_refused_and_nothing_is_made(project: Project, words: tuple[str, str]) -> None:
    project.call("init", *words, status=2)
    assert not project.pool.exists()


def test_a_variable_for_prune_is_no_bound(project: Project) -> None:
    project.call("init", env={"SHAREDENV_MAX_SIZE": "1G", "SHAREDENV_UNUSED_FOR": "30d", "SHAREDENV_PACK": "1"})
    assert marks(project).keys() <= {"format", "init"}


def test_a_build_trims_after_it_has_published_and_says_so_in_one_line(project: Project) -> None:
    three(project)
    project.call("init", "--unused-for", "30d")
    project.script("new.py", ["alpha", "beta"])
    told = project.call("build", "new.py").stderr
    [line] = [line for line in told.splitlines() if "trimmed" in line]
    assert "trimmed the pool: removed 3 environments, " in line and re.search(r" \(\d+ kB, of which \d+ B stay in uv's cache or elsewhere\)$", line)
    assert len(project.environments) == 1
    assert "trimmed" not in project.call("build", "new.py").stderr, "nothing was added"


def test_what_was_named_is_in_use_needed_or_young_stays(project: Project) -> None:
    before = three(project)
    project.call("init", "--max-size", "1B")
    project.call("plan", "b.py")
    age(project, 40)
    process = sleeper(project, "long.py")  # the environment of a.py
    age(project, 40)
    project.script("new.py", ["alpha", "beta"])
    told = project.call("build", "new.py", "t.py").stderr
    assert "trimmed" not in told and "kB over its bounds: what is in use, needed, not yours or was used within 7 days stays" in told
    assert set(names(project)) > set(before)
    assert finish(process) == "fine\n"
    age(project, 40)
    project.script("more.py", ["alpha", "tool"])
    assert "trimmed the pool: removed 3 environments" in project.call("run", "more.py").stderr, "all but what the plan needs"
    age(project, 6)
    project.script("last.py", ["beta", "tool"])
    assert "trimmed" not in project.call("build", "last.py").stderr, "all was used within the week"


def test_a_pool_that_packs_is_trimmed_so_and_prune_packs_there(project: Project) -> None:
    three(project)
    project.call("init", "--unused-for", "30d", "--pack")
    project.script("new.py", ["alpha", "beta"])
    assert "trimmed the pool: packed 3 environments" in project.call("build", "new.py").stderr
    assert len(list((project.pool / "packed").iterdir())) == 3
    age(project, 40)
    assert "packed 1 environment" in project.call("prune").stderr
    assert "removed 4 environments" in project.call("prune", "--no-pack").stderr
    told = project.call("build", "a.py").stderr
    assert "built environment" in told, "nothing is left to unpack"


def test_what_is_unpacked_is_an_addition(project: Project) -> None:
    three(project)
    project.call("prune", "--pack", "--max-size", "1B")
    project.call("init", "--max-size", "1B")
    told = project.call("build", "a.py").stderr
    assert "unpacked environment" in told and "trimmed the pool: removed 2 environments" in told
    assert len(project.environments) == 1 and not list((project.pool / "packed").iterdir())


@pytest.mark.root
def test_a_trim_that_can_not_be_done_fails_no_build(project: Project) -> None:
    """The journals of runs can't be read: nobody knows what they need, and nothing goes."""
    three(project)
    project.call("init", "--unused-for", "30d")
    project.call("plan", "a.py")
    [run] = (path for path in (project.pool / "runs").iterdir() if not path.name.startswith("."))
    project.script("new.py", ["alpha", "beta"])
    run.chmod(0)
    told = project.call("build", "new.py", prefix=UNPRIVILEGED).stderr
    run.chmod(0o755)
    assert "trimmed" not in told and len(project.environments) == 4


def test_bounds_that_can_not_be_read_are_none(project: Project) -> None:
    three(project)
    marker = project.pool / "pool.json"
    marker.write_text(json.dumps({**marks(project), "max_size": "much", "unused_for": 5, "pack": "yes", "more": [1]}) + "\n")
    project.script("new.py", ["alpha", "beta"])
    assert "trimmed" not in project.call("build", "new.py").stderr
    project.call("init", "--max-size", "1G")
    assert marks(project)["more"] == [1], "what another version has written there stays"


def test_killed_at_any_instant_of_a_change_the_pool_has_the_one_or_the_other(project: Project) -> None:
    require("strace", root=False)
    project.call("init", "--max-size", "20G", "--unused-for", "30d")
    for call in ("write", "ftruncate", "fsync"):
        killing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(project.pool / "pool.json")]
        killing += ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when=1"]
        status = project.call("init", "--max-size", "none", "--unused-for", "none", prefix=killing, status=None).returncode
        assert status in (-signal.SIGKILL, 128 + signal.SIGKILL), call
        assert marks(project).get("max_size") in (20 * 10**9, None)
        project.call("list")
        project.call("init", "--max-size", "20G", "--unused-for", "30d")


@pytest.fixture
def lab(offline_env: dict[str, str], wheels: Path) -> Iterator[Lab]:
    with new_lab(offline_env, wheels) as lab:
        yield lab


@pytest.mark.root
def test_in_a_shared_pool_each_trims_their_own_and_its_owner_sets_the_bounds(lab: Lab) -> None:
    lab.project.chmod(0o2775)
    lab.script("case1/script.py", body="import alpha; print('ran')")
    lab.script("n1/script.py", "beta")
    lab.script("n2/script.py", "tool")
    lab.call(ALICE, "build", "--shared-group", "case1/script.py")
    lab.call(BOB, "build", "n1/script.py")
    told = lab.call(BOB, "init", "--max-size", "1B", status=3).stderr
    assert f"which is {ALICE}'s" in told and f"hint: ask {ALICE} to run: sharedenv init" in told
    lab.call(ALICE, "init", "--max-size", "1B")
    for manifest in lab.pool.glob("envs/*/sharedenv.json"):
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "built": 1e9}, indent=1, sort_keys=True))
    for note in (lab.pool / "used").iterdir():
        os.utime(note, (1e9, 1e9))
    told = lab.call(BOB, "build", "n2/script.py").stderr
    assert "trimmed the pool: removed 1 environment, " in told and "not yours" in told
    assert lab.call(ALICE, "exec", "--no-build", "case1/script.py").stdout == "ran\n"
    assert subprocess.run(["ls", lab.pool / "trash"], capture_output=True, check=True).stdout == b""
