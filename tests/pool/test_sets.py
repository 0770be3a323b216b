"""A run has one set of versions, and says afterwards which case ran on what (DESIGN, section 3b)."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest

from sharedenv.key.versions import parse_versions
from tests.conftest import Project
from tests.faults import preloaded, wait_for
from tests.key.test_canonical import make_library
from tests.pool.test_held import SHOW, damage, index, pins, purge
from tests.wheels import make_wheel

__all__ = ["index"]


KILLS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int rename(const char *from, const char *to) {
    char both[8192];
    snprintf(both, sizeof both, "%s > %s", from, to);
    if (getenv("KILL_AT") && strstr(both, getenv("KILL_AT"))) kill(getpid(), SIGKILL);
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
int unlink(const char *path) {
    char both[8192];
    snprintf(both, sizeof both, "unlink %s", path);
    if (getenv("KILL_AT") && strstr(both, getenv("KILL_AT"))) kill(getpid(), SIGKILL);
    return ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
}
"""


@pytest.mark.parametrize(
    ("instant", "moves"),
    [(".next", False), ("unlink {pool}/index/", False), (" > {pool}/envs/", False), (" > {pool}/keys/", False), (".next > ", True), (" > {pool}/index/", True)],
)
def test_an_upgrade_that_is_killed_has_moved_all_or_nothing(project: Project, index: Path, tmp_path: Path, instant: str, moves: bool) -> None:
    """As it announces, forgets fingerprints, places the environment, turns the link of its key, holds, notes the fingerprint anew."""
    project.script("s.py", ["alpha"], SHOW)
    project.build("s.py")
    make_wheel(index, "alpha", "1.1")
    env = {**preloaded(tmp_path, KILLS), "KILL_AT": instant.format(pool=project.pool)}
    assert project.call("build", "--upgrade", "s.py", env=env, status=None).returncode == -9
    now = "1.1\n" if moves else "1.0\n"
    for command in (("exec", "s.py"), ("run", "s.py"), ("build", "--rebuild", "s.py"), ("exec", "s.py")):
        assert project.call(*command).stdout in ("", now), command
    assert project.call("exec", "s.py").stdout == now
    project.call("build", "--upgrade", "s.py")
    assert project.call("exec", "s.py").stdout == "1.1\n" and pins(project) == {"alpha": "1.1"}
    assert len(list((project.pool / "versions").iterdir())) == 1, "what was announced is gone"


BODY = """\
import alpha, os, pathlib, sys, time
pathlib.Path("seen").write_text(alpha.VERSION)
while os.path.exists("hold"):
    time.sleep(0.02)
sys.exit(os.path.exists("fail"))
"""


def seen(project: Project) -> list[str]:
    """What each case saw, in their order."""
    return [path.read_text() for path in sorted(project.path.glob("case*/seen"))]


def fail(project: Project, *numbers: int) -> None:
    """These cases fail from now on, and no others."""
    for folder in project.path.glob("case*"):
        (folder / "fail").unlink(missing_ok=True)
    for number in numbers:
        (project.path / f"case{number}" / "fail").touch()


def begun(project: Project, index: Path, *failing: int) -> str:
    """A run of four cases on alpha 1.0; then alpha 1.1 appears. The run's name."""
    project.copies(4, ["alpha"], BODY)
    fail(project, *failing)
    project.call("run", "case*/script.py", status=1 if failing else 0)
    fail(project)
    make_wheel(index, "alpha", "1.1")
    return run_of(project)


def run_of(project: Project) -> str:
    return max(path.name for path in (project.pool / "runs").iterdir() if path.name[0] != ".")


def kept(project: Project, run: str) -> list[str]:
    """The version of alpha in each set that a run keeps, in the order in which they came."""
    paths = sorted((project.pool / "runs" / run / "versions").iterdir(), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [parse_versions(path.read_text()).names["alpha"] for path in paths]


def test_the_story_under_run(project: Project, index: Path) -> None:
    run = begun(project, index, 3, 4)
    purge(project)
    project.call("run", "--resume")
    assert seen(project) == ["1.0"] * 4
    assert kept(project, run) == ["1.0"]
    assert "2 sets" not in project.call("status").stdout


def test_the_story_under_exec(project: Project, index: Path) -> None:
    project.call("init")
    project.copies(4, ["alpha"], BODY)
    fail(project, 3, 4)
    for number in range(1, 5):
        project.call("exec", "script.py", status=int(number > 2), cwd=project.path / f"case{number}")
    fail(project)
    make_wheel(index, "alpha", "1.1")
    purge(project)
    project.call("build", "case*/script.py")
    for number in (3, 4):
        project.call("exec", "script.py", cwd=project.path / f"case{number}")
    assert seen(project) == ["1.0"] * 4


def test_a_resume_that_would_mix_is_refused_with_two_ways_out(project: Project, index: Path) -> None:
    run = begun(project, index, 3, 4)
    told = project.call("build", "--upgrade", "case1/script.py").stderr
    assert f"run {run} has 2 results with the versions before, and 2 to go: sharedenv run --resume --upgrade --run-id {run}" in told
    (project.path / "case3" / "seen").write_text("nothing")
    for flag in ("--resume", "--retry-failed"):
        told = project.call("run", flag, status=2).stderr
        assert "alpha 1.0 → 1.1" in told and f"hint: sharedenv run --resume --upgrade --run-id {run} " in told
        assert "in a new run: sharedenv run case1/script.py case2/script.py case3/script.py case4/script.py\n" in told or "case*" in told
    assert (project.path / "case3" / "seen").read_text() == "nothing"
    project.call("run", "--resume", "--upgrade", "--run-id", run)
    assert seen(project) == ["1.0", "1.0", "1.1", "1.1"] and kept(project, run) == ["1.0", "1.1"]
    fail(project, 4)
    told = project.call("status", run).stdout
    assert "results with 2 sets of versions" in told and "case1/script.py, case2/script.py" in told and "case3/script.py, case4/script.py" in told
    assert f"sharedenv show --run {run}" in told
    document = json.loads(project.call("status", run, "--json").stdout)
    assert [one["cases"] for one in document["versions"]] == [[1, 2], [3, 4]]
    project.call("prune", "--unused-for", "0s")
    both = json.loads(project.call("show", "--run", run, "--json").stdout)["versions"]
    assert [one["packages"] for one in both] == [{"alpha": "1.0"}, {"alpha": "1.1"}] and both == document["versions"]
    told = project.call("show", "--run", run).stdout
    assert re.search(r"alpha +1\.0\n", told) and re.search(r"alpha +1\.1\n", told)
    assert "2 sets" in project.call("status", run).stdout, "for good"


def test_what_has_gone_on_with_the_new_set_needs_no_second_permission(project: Project, index: Path) -> None:
    run = begun(project, index, 3, 4)
    project.call("build", "--upgrade", "case1/script.py")
    fail(project, 4)
    project.call("run", "--resume", "--upgrade", status=1)
    fail(project)
    project.call("run", "--resume")
    assert seen(project) == ["1.0", "1.0", "1.1", "1.1"] and kept(project, run) == ["1.0", "1.1"]


def test_where_nothing_would_mix_nothing_is_refused(project: Project, index: Path) -> None:
    """No result stays: a run whose cases all failed for want of a package takes what its scripts ask for now."""
    run = begun(project, index, 1, 2, 3, 4)
    project.call("build", "--upgrade", "case1/script.py")
    project.call("run", "--resume")
    assert seen(project) == ["1.1"] * 4 and kept(project, run) == ["1.0", "1.1"]
    assert "2 sets" not in project.call("status").stdout


def test_scripts_that_ask_for_other_versions_are_refused(project: Project, index: Path) -> None:
    run = begun(project, index, 3, 4)
    for number in (3, 4):
        project.script(f"case{number}/script.py", ["alpha>1.0"], BODY)
    told = project.call("run", "--resume", status=2).stderr
    assert "alpha 1.0 → 1.1" in told
    for number in (3, 4):  # another way to ask for the same
        project.script(f"case{number}/script.py", ["alpha<1.1"], BODY)
    project.call("run", "--resume", "--run-id", run)
    assert seen(project) == ["1.0"] * 4 and "2 sets" not in project.call("status", run).stdout


def test_what_is_gone_from_the_pool_is_built_of_what_the_run_keeps(project: Project, index: Path) -> None:
    begun(project, index, 3, 4)
    purge(project)
    project.call("prune", "--unused-for", "0s")
    shutil.rmtree(project.pool / "versions")
    project.call("run", "--resume")
    assert seen(project) == ["1.0"] * 4 and pins(project) == {"alpha": "1.0"}


def test_an_upgrade_in_mid_run_does_not_reach_the_cases_that_wait(project: Project, index: Path) -> None:
    project.copies(4, ["alpha"], BODY)
    (project.path / "case1" / "hold").touch()
    running = project.start("run", "-j1", "case*/script.py")
    wait_for((project.path / "case1" / "seen").exists)
    make_wheel(index, "alpha", "1.1")
    told = project.call("build", "--upgrade", "case1/script.py").stderr
    assert f"run {run_of(project)} is at work with the versions before, and goes on with them" in told
    assert "run" in project.call("prune", "--unused-for", "0s").stdout
    assert len(project.environments) == 2
    (project.path / "case1" / "hold").unlink()
    assert running.wait(60) == 0
    assert seen(project) == ["1.0"] * 4 and kept(project, run_of(project)) == ["1.0"]


def test_each_result_names_its_environment(project: Project, index: Path) -> None:
    run = begun(project, index)
    lines = (project.pool / "runs" / run / "results-local.1.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    results = [record for record in records if "attempt" in record]
    [name] = {result["environment"] for result in results}
    assert name == project.environments[0].name and len(results) == 4
    [told] = [record for record in records if "versions" in record]
    [path] = (project.pool / "runs" / run / "versions").iterdir()
    assert told["environment"] == name and told["versions"] == parse_versions(path.read_text()).digest
    assert records.index(told) < records.index(results[0])


def test_a_run_of_an_older_sharedenv_goes_on(project: Project, index: Path) -> None:
    run = project.pool / "runs" / begun(project, index, 3, 4)
    shutil.rmtree(run / "versions")
    journal = run / "results-local.1.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    old = [{name: value for name, value in line.items() if name != "environment"} for line in lines if "versions" not in line]
    journal.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert "2 succeeded, 2 failed" in project.call("status").stdout
    assert "nothing tells" in project.call("show", "--run", run.name).stdout
    project.call("run", "--resume")
    assert seen(project) == ["1.0"] * 4 and kept(project, run.name) == ["1.0"]


class Sweep:
    """A run of three cases of which the last fails for ever, and a model of it: what each has seen, what the pool and the lock have."""

    def __init__(self, project: Project, index: Path) -> None:
        self.project, self.index = project, index
        self.newest = 0
        self.held = "1.0"
        self.locked: str | None = None
        self.seen = ["1.0"] * 3
        project.copies(3, ["alpha"], BODY)
        fail(project, 3)
        project.call("run", "case*/script.py", status=1)
        self.run = run_of(project)

    @property
    def asked(self) -> str:
        """What a case gets that is run now."""
        return self.locked or self.held

    def publish(self) -> None:
        self.newest += 1
        make_wheel(self.index, "alpha", f"1.{self.newest}")

    def purge(self) -> None:
        if self.project.environments:
            purge(self.project)
            self.project.call("build", "case1/script.py")

    def prune(self) -> None:
        self.project.call("prune", "--unused-for", "0s")

    def rebuild(self) -> None:
        self.project.call("build", "--rebuild", "case1/script.py")

    def repair(self) -> None:
        if self.project.environments:
            damage(self.project)
            self.project.call("verify", "--repair", status=None)

    def upgrade(self) -> None:
        """Under a lock it moves nothing, and says what would."""
        told = self.project.call("build", "--upgrade", "case1/script.py", status=2 if self.locked else 0).stderr
        if self.locked:
            assert "hint: sharedenv lock --upgrade case1/script.py\n" in told
        else:
            self.held = f"1.{self.newest}"

    def lock(self) -> None:
        self.project.call("lock", "case*/script.py")
        self.locked = self.asked

    def lock_upgrade(self) -> None:
        self.project.call("lock", "--upgrade", "case*/script.py")
        self.locked = f"1.{self.newest}"

    def other_run(self) -> None:
        self.project.script("other/script.py", ["alpha"], BODY)
        self.project.call("run", "other/script.py")
        assert (self.project.path / "other" / "seen").read_text() == self.asked

    def resume(self, *options: str) -> None:
        mixes = self.asked not in self.seen and not options
        self.project.call("run", "--resume", "--run-id", self.run, *options, status=2 if mixes else 1)
        if not mixes:
            self.seen[2] = self.asked

    def resume_with_the_new(self) -> None:
        self.resume("--upgrade")


STEPS = {
    Sweep.publish: 3, Sweep.purge: 1, Sweep.prune: 1, Sweep.rebuild: 1, Sweep.repair: 1, Sweep.upgrade: 2, Sweep.lock: 1,
    Sweep.lock_upgrade: 1, Sweep.other_run: 1, Sweep.resume: 2, Sweep.resume_with_the_new: 1,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_what_cases_see_changes_at_an_upgrade_and_at_nothing_else(project: Project, index: Path, seed: int) -> None:
    chance = random.Random(seed)
    sweep = Sweep(project, index)
    done = []
    for step in chance.choices(list(STEPS), weights=list(STEPS.values()), k=6):
        done.append(step.__name__)
        step(sweep)
        assert seen_by(project, 3) == sweep.seen, f"seed {seed}: {done}"
    sweep.resume()
    assert seen_by(project, 3) == sweep.seen, f"seed {seed}: {done}, resume"
    several = len(set(sweep.seen)) > 1
    assert ("sets of versions" in project.call("status", sweep.run).stdout) == several, f"seed {seed}: {done}"


def seen_by(project: Project, count: int) -> list[str]:
    return [(project.path / f"case{number}" / "seen").read_text() for number in range(1, count + 1)]


def test_a_share_does_not_mix_with_one_that_is_at_work(project: Project, index: Path) -> None:
    """No result of that one is there yet."""
    project.copies(2, ["alpha"], BODY)
    fail(project, 1, 2)
    project.call("run", "case*/script.py", status=1)
    fail(project)
    for path in project.path.glob("case*/seen"):
        path.unlink()
    (project.path / "case1" / "hold").touch()
    first = project.start("run", "--resume", "--shard", "2/2", "case*/script.py")
    wait_for((project.path / "case1" / "seen").exists)
    make_wheel(index, "alpha", "1.1")
    project.call("build", "--upgrade", "case1/script.py")
    assert "alpha 1.0 → 1.1" in project.call("run", "--resume", "--shard", "1/2", "case*/script.py", status=2).stderr
    (project.path / "case1" / "hold").unlink()
    assert first.wait(60) == 0
    assert seen(project) == ["1.0"]


@pytest.mark.parametrize("way", ["anywhere", "in an array"])
def test_status_tells_of_shares_of_one_whole_that_had_several_sets(project: Project, index: Path, way: str) -> None:
    project.copies(4, ["alpha"], BODY)

    def share(number: int) -> None:
        task = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_JOB_ID": "70"} if way == "in an array" else {}
        project.call("run", "--shard", f"{number}/2", "case*/script.py", env=task)

    share(1)
    first = run_of(project)
    make_wheel(index, "alpha", "1.1")
    project.call("build", "--upgrade", "case*/script.py")
    share(2)
    told = project.call("status").stdout
    assert "share 2/2; all 2 together: 4 of 4 scripts succeeded\nshares with 2 sets of versions" in told
    assert re.search(rf"^  \w{{12}}: share 1; what is in it: sharedenv show --run {first}$", told, re.MULTILINE)
    assert json.loads(project.call("status", "--json").stdout)["mixed"] is True
    share(1)
    assert "sets of versions" not in project.call("status").stdout


def test_a_local_package_is_told_and_where_its_version_moves_nothing_mixes(project: Project, index: Path) -> None:
    library = make_library(project.path / "lib")
    source = '[tool.uv.sources]\nlib = { path = "../lib" }'
    project.copies(2, ["lib"], "import os, sys; sys.exit(os.path.exists('fail'))", extra=source)
    fail(project, 2)
    project.call("run", "case*/script.py", status=1)
    fail(project)
    for name in ("pyproject.toml", "backend.py"):
        text = (library / name).read_text()
        (library / name).write_text(text.replace('version = "1"', 'version = "2"').replace("lib-1", "lib-2").replace("lib\\nVersion: 1", "lib\\nVersion: 2"))
    project.call("build", "case*/script.py")
    assert "lib 1 → 2" in project.call("run", "--resume", status=2).stderr
    project.call("run", "--resume", "--upgrade")
    assert "results with 2 sets of versions" in project.call("status").stdout


def test_an_older_sharedenv_reads_what_a_run_writes(project: Project, index: Path) -> None:
    """What is new stands in lines and fields that it passes over, and in a folder of its own."""
    run = project.pool / "runs" / begun(project, index, 4)
    for line in map(json.loads, (run / "results-local.1.jsonl").read_text().splitlines()):
        assert {"owner", "attempt", "started", "ended"} & line.keys() or line.keys() == {"environment", "key", "versions"}
        if "attempt" in line:
            assert line.keys() >= {"sequence", "start", "seconds", "cpu", "memory", "status", "signal", "host", "output"}
    assert json.loads((run / "run.json").read_text()).keys() == {
        "schema", "command", "arguments", "cwd", "created", "count", "keys", "extra",
    }  # fmt: skip
    manifest = json.loads((project.environments[0] / "sharedenv.json").read_text())
    assert list(manifest["notes"]) == ["versions"] and len(manifest["notes"]["versions"]) == 64


def test_show_wants_a_run_or_an_environment(project: Project, index: Path) -> None:
    project.script("s.py", ["alpha"], SHOW)
    project.call("run", "s.py")
    for words in ((), ("s.py", "--run", run_of(project))):
        assert "--run" in project.call("show", *words, status=2).stderr
    assert "no run 'none' in" in project.call("show", "--run", "none", status=2).stderr
    assert "hint: sharedenv build --upgrade s.py\n" in project.call("run", "--upgrade", "s.py", status=2).stderr


def test_a_disk_that_takes_no_set_runs_nothing(project: Project, index: Path, tmp_path: Path) -> None:
    """What was computed with what would not be known."""
    project.copies(2, ["alpha"], BODY)
    project.call("build", "case*/script.py")
    library = preloaded(tmp_path, NO_LINK)
    told = project.call("run", "case*/script.py", env=library, status=3).stderr
    assert "No space left on device" in told and seen(project) == []


NO_LINK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
int link(const char *from, const char *to) { errno = ENOSPC; return -1; }
int rename(const char *from, const char *to) {
    if (strstr(to, "/versions/")) { errno = ENOSPC; return -1; }
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
"""
