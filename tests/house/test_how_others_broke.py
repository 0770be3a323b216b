"""How others' pools broke, and the test of ours for each; the tests here are those that have no better place."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.build.test_build_faults import RUNS, end, holder, sound
from tests.conftest import UNPRIVILEGED, Project, opened
from tests.faults import require

TESTS = Path(__file__).parent.parent

#: what broke → the tests that hold ours to better
BROKE = {
    "a key made by joining strings; order, case and _-. split it": ["test_one_meaning_one_key", "test_two_meanings_two_keys"],
    "no Python in the key, or its path without its version": [
        "test_python_settings_and_platform_are_in_the_key", "test_a_base_python_upgraded_behind_its_path_is_seen_by_every_look",
    ],
    "relative sources: same bytes, other folder, other meaning": [
        "test_the_same_bytes_in_two_folders_that_mean_two_things_are_two_keys", "test_relative_sources_install",
    ],
    "a short hash decides alone": ["test_two_keys_that_begin_alike_never_share"],
    "a half-built environment taken as ready after SIGKILL": [
        "test_killed_at_any_instant_of_a_build_the_next_one_succeeds", "test_uv_killed_in_the_middle_of_an_install_publishes_nothing",
    ],
    "the marker outlives its environment": ["test_links_that_outlive_their_environment_count_as_none"],
    "a lock file unlinked after release splits the waiters": ["test_a_lease_handed_on_is_held_by_one_at_a_time"],
    "flock missing, or local to a node": [
        "test_where_flock_is_missing_cold_starts_make_one_environment", "test_where_uv_cannot_lock_its_cache_the_way_round_is_told",
        "test_where_flock_is_missing_scripts_run_and_prune_leans_on_the_last_use",
        "test_two_mounts_of_one_folder_on_two_hosts_make_one_environment", "test_where_locks_are_blind_what_was_used_within_a_day_stays",
    ],
    "a soft lock without a word": ["test_no_lock_falls_back_to_another"],
    "one lock for all keys": ["test_a_build_that_hangs_holds_up_no_other_key"],
    "prune removes what a running job uses, or waits behind one": [
        "test_what_runs_is_kept_and_named_and_nobody_waits", "test_prune_in_a_loop_against_starts_and_long_scripts_fails_no_import",
        "test_an_unfinished_run_keeps_its_environments", "test_what_a_script_started_and_left_behind_still_holds_its_environment",
    ],
    "expiry from creation; a look counts as use": ["test_age_counts_from_the_last_use_and_looking_is_no_use"],
    "scripts on an unmounted disk look gone": [
        "test_scripts_on_a_disk_that_is_not_mounted_lose_no_environment", "test_a_disk_that_fails_proves_nothing",
        "test_a_pool_on_a_disk_that_is_not_mounted_is_no_reason_for_another",
    ],
    "base Python upgraded or removed under the link": [
        "test_a_base_python_that_is_gone_is_named_and_built_anew", "test_a_base_python_upgraded_behind_its_path_is_seen_by_every_look",
    ],
    "a scratch purge removes some files": ["test_a_purged_file_is_found_by_build_and_by_run", "test_a_purge_of_the_pools_own_folders_and_links_is_mended"],
    "someone installs into the shared environment": ["test_what_was_installed_into_an_environment_is_found_by_build"],
    "a failure told to the first waiter only": ["test_a_failure_is_told_to_all_who_waited_and_the_next_call_tries_again"],
    "credentials in the manifest or a log": ["test_credentials_reach_the_server_and_no_file"],
    "VIRTUAL_ENV, PYTHONHOME, PYTHONPATH leak into the child": ["test_misleading_variables_do_not_reach_the_script"],
    "half a list runs before a bad script stops it; a bad block read as none": [
        "test_every_bad_script_is_named_at_once", "test_a_bad_script_stops_all_before_anything_runs",
    ],
}  # fmt: skip


def test_each_has_its_tests() -> None:
    defined = {
        node.name
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name for names in BROKE.values() for name in names} <= defined


def test_two_keys_that_begin_alike_never_share(project: Project) -> None:
    """Twelve digits name a folder; the whole payload decides."""
    project.script("s.py", ["alpha"], RUNS)
    project.script("o.py", ["beta"])
    project.call("build", "s.py", "o.py")
    key = project.call("key", "s.py").stdout.split()[0]
    mine = (project.pool / "keys" / key).resolve()
    other = next(path for path in project.environments if path != mine)
    # as if the other's key began with the same digits: its folder, its manifest and a link of its own say so
    project.call("prune", "--unused-for", "0s", "--keep", "o.py")
    taken = other.rename(project.pool / "envs" / mine.name)
    (project.pool / "keys" / key).symlink_to(f"../envs/{taken.name}")
    assert project.call("which", "s.py", status=1).stdout == ""
    sound_name = project.call("exec", "s.py")
    assert sound_name.stdout == "ran\n"
    assert (project.pool / "keys" / key).resolve().name == f"{key[:12]}-2"


def test_links_that_outlive_their_environment_count_as_none(project: Project) -> None:
    project.script("s.py", ["alpha"], RUNS)
    project.call("exec", "s.py")
    with opened(project.environments[0]):
        subprocess.run(["rm", "-rf", str(project.environments[0])], check=True)
    assert any((project.pool / "keys").iterdir()) and any((project.pool / "index").iterdir())
    assert project.call("which", "s.py", status=1).stdout == ""
    assert project.call("exec", "--no-build", "s.py", status=125).stdout == ""
    sound(project)


TURNS = """\
import os, sys, time
from sharedenv.pool.layout import Layout
from sharedenv.pool.lease import lease
for _ in range(12):
    with lease(Layout(sys.argv[1]), "0" * 64, waiting=lambda *_: None):
        os.close(os.open(sys.argv[1] + "/held", os.O_CREAT | os.O_EXCL))
        time.sleep(0.002)
        os.unlink(sys.argv[1] + "/held")
"""


def test_a_lease_handed_on_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """One that is released while others wait is never held by two of them."""
    (tmp_path / "locks").mkdir()
    processes = [subprocess.Popen([sys.executable, "-c", TURNS, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(timeout=200) for process in processes] == [0] * 4
    assert not list((tmp_path / "locks").iterdir())


def without_flock(error: str) -> list[str]:
    """In front of a command: every flock of it and of what it starts fails so."""
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", f"inject=flock:error={error}"]


@pytest.mark.parametrize("error", ["ENOLCK", "524"])
def test_where_uv_cannot_lock_its_cache_the_way_round_is_told(project: Project, error: str) -> None:
    """uv goes on without ENOSYS and gives up with these; the pool runs with all of them."""
    require("strace", root=False)
    project.script("s.py", ["alpha"], RUNS)
    told = project.call("build", "s.py", status=3, prefix=without_flock(error))
    assert "failed to lock" in told.stderr and "no Python here" not in told.stderr
    assert 'hint: export UV_CACHE_DIR="$(mktemp -d)"' in told.stderr
    found = json.loads(project.call("doctor", "--json", status=None, prefix=without_flock(error)).stdout)["findings"]
    assert any("can't be locked" in item["text"] for item in found if item["subject"] == "uv's cache")
    project.call("build", "s.py")
    assert project.call("exec", "s.py", prefix=without_flock(error)).stdout == "ran\n"
    assert project.call("prune", "--unused-for", "0s", prefix=without_flock(error)).stdout.startswith("kept")


def test_a_disk_that_fails_at_the_lock_fails_that_environment_and_is_told(project: Project) -> None:
    require("strace", root=False)
    project.script("s.py", ["alpha"], RUNS)
    project.call("build", "s.py")
    told = project.call("run", "s.py", prefix=without_flock("EIO"), status=3).stderr
    assert "can't be used\n  cause: Input/output error: " in told and "1 failed" in told


def test_where_flock_is_missing_cold_starts_make_one_environment(project: Project) -> None:
    require("strace", root=False)
    without = without_flock("ENOSYS")
    project.script("s.py", ["alpha"], RUNS)
    processes = [project.start("exec", "s.py", prefix=without) for _ in range(3)]
    told = [process.communicate(timeout=240) for process in processes]
    assert [stdout for stdout, _ in told] == ["ran\n"] * 3, told
    assert len(project.environments) == 1
    assert project.call("prune", "--unused-for", "0s", prefix=without).stdout.startswith("kept")
    sound(project)


def test_no_lock_falls_back_to_another() -> None:
    """filelock's FileLock becomes a soft lock where flock is missing; the one kind used here is one from the start."""
    package = TESTS.parent / "sharedenv"
    users = [path for path in package.rglob("*.py") if "filelock" in path.read_text()]
    imports = [
        alias.name
        for path in users
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "filelock"
        for alias in node.names
    ]
    assert sorted(set(imports)) == ["SoftFileLease", "Timeout"]


def test_a_build_that_hangs_holds_up_no_other_key(project: Project) -> None:
    process = holder(project)  # builds o.py first, then holds the lease of s.py
    try:
        project.script("g.py", ["gamma"])
        told = project.call("build", "g.py", "--lock-timeout", "5")
        assert "waiting" not in told.stderr
        assert "removed" in project.call("prune", "--unused-for", "0s").stdout
    finally:
        end(process)


@pytest.mark.parametrize("names", [["case*/s.py"], ["**/s.py"], ["case1/s.py", "case2/s.py"], ["gone/*/s.py"]], ids=str)
def test_scripts_on_a_disk_that_is_not_mounted_lose_no_environment(project: Project, names: list[str]) -> None:
    """A folder that can't be read, or a mount point that is empty, is an error, not a list of scripts that is shorter."""
    project.script("case1/s.py", ["alpha"])
    project.script("case2/s.py", ["beta"])
    project.call("build", "case1/s.py", "case2/s.py")
    (project.path / "gone").mkdir()
    (project.path / "case2").chmod(0o000)
    try:
        project.call("prune", "--keep", *names, prefix=UNPRIVILEGED, status=2)
    finally:
        (project.path / "case2").chmod(0o755)
    assert len(project.environments) == 2


def test_a_pool_on_a_disk_that_is_not_mounted_is_no_reason_for_another(project: Project, tmp_path: Path) -> None:
    project.script("s.py", ["alpha"], RUNS)
    project.pool.symlink_to(tmp_path / "scratch" / "pool")
    told = project.call("exec", "s.py", status=125)
    assert f"{project.pool} leads to {tmp_path / 'scratch' / 'pool'}, which is not there" in told.stderr
    assert not (tmp_path / "scratch").exists()
    (tmp_path / "scratch" / "pool").mkdir(parents=True)
    sound(project)


def test_a_bad_script_stops_all_before_anything_runs(project: Project) -> None:
    project.script("a.py", ["alpha"], "import pathlib; pathlib.Path('ran').touch()")
    (project.path / "b.py").write_text("# /// script\n# dependencies = [\n# ///\n")
    told = project.call("run", "a.py", "b.py", status=2)
    assert "b.py" in told.stderr and "Traceback" not in told.stderr
    assert not (project.path / "ran").exists() and not project.environments
