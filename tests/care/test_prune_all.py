"""prune --all: the way to be rid of a pool, whose read-only folders stop rm -rf; what is in use stays."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from sharedenv.start.access import hold
from tests.conftest import UNPRIVILEGED, Project
from tests.faults import preloaded, wait_for


def test_all_of_a_pool_goes_when_nothing_holds_it(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.script("b.py", ["beta"])
    project.build("a.py", "b.py")
    assert project.call("prune", "--all", "--dry-run").stdout.count("would remove") == 2
    assert len(project.environments) == 2
    done = project.call("prune", "--all")
    assert "all were to go" in done.stdout and f"removed the pool {project.pool}" in done.stderr
    assert sorted(os.listdir(project.path)) == ["a.py", "b.py"]


def test_what_is_in_use_stays_and_the_pool_with_it(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.script("b.py", ["beta"])
    project.build("a.py", "b.py")
    held = project.environments[0]
    descriptor = hold(str(held))
    try:
        assert "in use" in project.call("prune", "--all").stdout
    finally:
        os.close(descriptor)
    assert project.environments == [held]


def test_what_is_not_the_pools_own_stays(project: Project) -> None:
    project.script("a.py")
    project.build("a.py")
    (project.pool / "notes.txt").write_text("mine")
    assert f"kept the pool {project.pool}: notes.txt is not its own" in project.call("prune", "--all").stderr
    assert project.environments == [] and (project.pool / "notes.txt").read_text() == "mine"


def test_a_pool_that_is_a_link_goes_with_what_it_leads_to(project: Project, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "pool").mkdir(parents=True)
    project.pool.symlink_to(scratch / "pool")
    project.script("a.py")
    project.build("a.py")
    assert f"removed the pool {project.pool}" in project.call("prune", "--all").stderr
    assert os.listdir(project.path) == ["a.py"] and os.listdir(scratch) == []


def test_a_pool_that_can_not_be_removed_is_named(project: Project, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/pool").mkdir()
    project.pool.symlink_to(tmp_path / "scratch/pool")
    project.script("a.py")
    project.build("a.py")
    (tmp_path / "scratch").chmod(0o555)
    done = project.call("prune", "--all", prefix=UNPRIVILEGED)
    (tmp_path / "scratch").chmod(0o755)
    assert f"kept the pool {project.pool}: {tmp_path}/scratch/pool can't be removed" in done.stderr
    assert project.pool.is_symlink()


def test_a_run_that_begins_while_a_pool_is_removed_keeps_its_journal(project: Project, tmp_path: Path) -> None:
    project.script("a.py")
    project.build("a.py")
    # at the last instant: between the last look and the rename
    code = """#define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/stat.h>
        int rename(const char *from, const char *to) {
            char run[4096];
            snprintf(run, sizeof run, "%s/runs/20300101-000000", from);
            if (strstr(to, ".removed-")) mkdir(run, 0755);
            return ((int (*)(const char *, const char *)) dlsym(RTLD_NEXT, "rename"))(from, to);
        }"""
    done = project.call("prune", "--all", env=preloaded(tmp_path, code))
    assert f"kept the pool {project.pool}: run 20300101-000000 began meanwhile" in done.stderr
    assert (project.pool / "runs/20300101-000000").is_dir()
    assert sorted(os.listdir(project.path)) == [".sharedenv", "a.py"]


def test_a_pool_whose_place_is_taken_is_kept_beside_it(project: Project, tmp_path: Path) -> None:
    """A run began in the old pool at the last instant, and another has made a new one before the old can be put back."""
    project.script("a.py", body="print('ran')")
    project.build("a.py")
    code = """#define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/stat.h>
        int rename(const char *from, const char *to) {
            char run[4096];
            int removed = strstr(to, ".removed-") != NULL, done;
            snprintf(run, sizeof run, "%s/runs/20300101-000000", from);
            if (removed) mkdir(run, 0755);
            done = ((int (*)(const char *, const char *)) dlsym(RTLD_NEXT, "rename"))(from, to);
            if (removed) { mkdir(from, 0755); snprintf(run, sizeof run, "%s/runs", from); mkdir(run, 0755); }
            return done;
        }"""
    told = project.call("prune", "--all", env=preloaded(tmp_path, code)).stderr
    [kept] = project.path.glob(".sharedenv.kept-*")
    assert f"kept the pool {project.pool}: run 20300101-000000 began meanwhile: what was in it is in {kept}\n" in told
    assert (kept / "runs/20300101-000000").is_dir() and os.listdir(project.pool) == ["runs"]
    assert project.call("run", "a.py").stdout == "ran\n"
    project.call("prune")
    assert (kept / "runs/20300101-000000").is_dir()


def test_who_comes_while_a_pool_is_removed_makes_a_new_one(project: Project, tmp_path: Path) -> None:
    """The old one is out of the way before the first of its files goes."""
    project.script("a.py", body="print('ran')")
    project.build("a.py")
    code = """#define _GNU_SOURCE
        #include <dlfcn.h>
        #include <string.h>
        #include <unistd.h>
        int rmdir(const char *path) {
            if (strstr(path, ".removed-")) usleep(30000);
            return ((int (*)(const char *)) dlsym(RTLD_NEXT, "rmdir"))(path);
        }
        int unlinkat(int folder, const char *path, int flags) {
            usleep(30000);
            return ((int (*)(int, const char *, int)) dlsym(RTLD_NEXT, "unlinkat"))(folder, path, flags);
        }"""
    names = {path.name for path in project.pool.iterdir()}
    pruning = project.start("prune", "--all", env=preloaded(tmp_path, code))
    wait_for(lambda: any(not (project.pool / name).exists() for name in names) or pruning.poll() is not None)
    assert project.call("run", "a.py").stdout == "ran\n"
    assert "removed the pool" in pruning.communicate(timeout=60)[1]
    assert len(project.environments) == 1 and len(os.listdir(project.pool / "runs")) == 1
    assert sorted(os.listdir(project.path)) == [".sharedenv", "a.py"]


def test_what_a_killed_removal_has_left_goes_after_a_day(project: Project) -> None:
    project.script("a.py")
    project.build("a.py")
    for age in (1, 2):
        left = project.path / f".sharedenv.removed-{age}"
        (left / "runs").mkdir(parents=True)
        for folder in (left / "runs", left):
            os.utime(folder, (time.time() - age * 80_000,) * 2)
    assert "removed ../.sharedenv.removed-2: left by a removal" in project.call("-v", "prune").stderr
    assert sorted(os.listdir(project.path)) == [".sharedenv", ".sharedenv.removed-1", "a.py"]


def test_when_nothing_could_be_removed_that_is_no_success(project: Project) -> None:
    project.script("a.py")
    project.build("a.py")
    descriptor = hold(str(project.environments[0]))
    try:
        assert "in use" in project.call("prune", "--all", status=1).stdout
        assert json.loads(project.call("prune", "--all", "--json", status=1).stdout)["pool_removed"] is False
        project.call("prune", "--unused-for", "0s")
    finally:
        os.close(descriptor)
    project.call("prune", "--all")


def test_all_stands_alone(project: Project) -> None:
    assert "--all stands alone" in project.call("prune", "--all", "--unused-for", "1d", status=2).stderr


def test_no_variable_removes_a_pool(project: Project) -> None:
    """SHAREDENV_ALL=1 is meant for `status`."""
    project.script("a.py")
    project.build("a.py")
    project.call("prune", env={"SHAREDENV_ALL": "1", "SHAREDENV_KEEP": "1"})
    assert len(project.environments) == 1


def test_an_unfinished_run_is_named_before_its_journal_goes(project: Project) -> None:
    project.script("a.py", body="import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)")
    project.script("b.py")
    project.call("run", "-j1", "a.py", "b.py", status=130)
    (run,) = os.listdir(project.pool / "runs")
    said = f"warning: run {run} is unfinished (2 left to run): its journal goes with the pool\n"
    assert "unfinished" not in project.call("prune").stderr
    assert said in project.call("prune", "--all", "--dry-run").stderr
    assert said in project.call("prune", "--all").stderr
    assert not project.pool.exists()
