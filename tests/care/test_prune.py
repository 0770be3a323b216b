"""prune: what is in use, needed or in doubt stays; the rest goes, by age, size or need; nothing is waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sharedenv.care.leaving import DAY, HOUR
from sharedenv.care.prune import Policy, Verdict, decide
from sharedenv.care.survey import Surveyed
from sharedenv.pool.mounts import FileSystem, Locks, find_mount
from sharedenv.pool.owner import this_process
from sharedenv.start.distrust import user_name
from tests.care.test_verify import module
from tests.conftest import UNPRIVILEGED, Project
from tests.faults import bound, mounted, preloaded, require, wait_for


def found(name: str, idle: float, *, size: int = 100, now: float = 1e9, **changes: Any) -> Surveyed:
    """An environment last used ``idle`` seconds before ``now``."""
    values: dict[str, Any] = {
        "name": f"{name}-1", "path": f"/pool/envs/{name}-1", "key": name * 64, "manifest": None, "published": True,
        "replaced_by": None, "index": (), "bytes": size, "last_use": now - idle, "noted": None, "doubt": None,
        "held_by_manifest": True,
    }  # fmt: skip
    return Surveyed(**{**values, **changes})


def gone(items: list[Surveyed], policy: Policy, *, blind: bool = False) -> list[str]:
    """Names of what a policy lets go."""
    return [verdict.environment.name[:1] for verdict in decide(items, policy, 1e9, blind=blind) if verdict.removed]


def test_thirty_days_without_use_unless_told_otherwise() -> None:
    items = [found("a", 29 * DAY), found("b", 31 * DAY)]
    assert gone(items, Policy()) == ["b"]
    assert gone(items, Policy(unused_for=20 * DAY)) == ["a", "b"]
    assert gone(items, Policy(unused_for=40 * DAY)) == []


def test_the_least_recently_used_go_until_the_rest_fits() -> None:
    items = [found("a", 3 * DAY), found("b", 1 * DAY), found("c", 2 * DAY), found("d", 9 * DAY, replaced_by="x")]
    assert gone(items, Policy(max_size=300)) == ["d"]
    assert gone(items, Policy(max_size=250)) == ["a", "d"]
    assert gone(items, Policy(max_size=100)) == ["a", "c", "d"]
    assert gone(items, Policy(max_size=0, keep=frozenset({"a" * 64}))) == ["b", "c", "d"]
    assert gone(items, Policy(max_size=250, keep=frozenset({"a" * 64}))) == ["c", "d"], "what isn't kept goes as far as it must"
    assert gone(items, Policy(max_size=10**9, keep=frozenset({"a" * 64}))) == ["d"]


def test_each_is_looked_at_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that went was looked for among all: a pool of 1,000 environments took ten times as long as one of 250."""
    items = [found(name, number * DAY) for number, name in enumerate("abcdef")]
    monkeypatch.setattr(Verdict, "__eq__", lambda *_: pytest.fail("one is compared with another"))
    assert gone(items, Policy(max_size=150)) == list("bcdef")


def test_what_scripts_and_runs_need_stays() -> None:
    items = [found("a", 90 * DAY), found("b", 90 * DAY), found("c", 1)]
    assert gone(items, Policy(keep=frozenset({"a" * 64}), needed={"b" * 64: "run-1"})) == ["c"]
    assert gone(items, Policy(needed={"b" * 64: "run-1"})) == ["a"]
    assert gone(items, Policy(max_size=0, needed={"b" * 64: "run-1"})) == ["a", "c"]


@pytest.mark.parametrize("policy", [{}, {"max_size": 0}, {"keep": frozenset()}, {"unused_for": 0.0}], ids=str)
def test_where_it_is_not_known_what_a_run_needs_nothing_published_goes(policy: dict[str, Any]) -> None:
    items = [found("a", 90 * DAY), found("b", 90 * DAY, published=False, replaced_by="x")]
    assert gone(items, Policy(**policy, doubt="run 1 can't be read")) == ["b"]


def test_where_locks_are_blind_a_day_is_the_least_and_replaced_ones_are_given_the_whole_time() -> None:
    items = [found("a", HOUR), found("b", 2 * DAY), found("c", 2 * DAY, published=False, replaced_by="x")]
    assert gone(items, Policy(unused_for=0.0)) == ["a", "b", "c"]
    assert gone(items, Policy(unused_for=0.0), blind=True) == ["b", "c"]
    assert gone(items, Policy(keep=frozenset()), blind=True) == ["b"]
    assert gone(items, Policy(max_size=0), blind=True) == ["b"]
    assert gone(items, Policy()) == ["c"]
    assert gone(items, Policy(), blind=True) == []


def test_doubt_means_keep() -> None:
    unreadable = found("a", 99 * DAY, doubt="its manifest can't be read: Input/output error")
    unknown = found("b", 99 * DAY, last_use=None)
    young_orphan = found("c", 60.0, published=False)
    assert gone([unreadable, unknown, young_orphan], Policy(unused_for=0.0)) == []


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:40 / /lustre rw,relatime - lustre mgs@tcp:/scratch rw,localflock,lazystatfs
41 22 0:41 / /lustre/flock rw,relatime - lustre mgs@tcp:/work rw,flock
42 22 0:42 / /home rw,relatime - nfs4 server:/home rw,vers=4.2,local_lock=none
43 22 0:43 / /old rw,relatime - nfs server:/old rw,vers=3,nolock,local_lock=all
44 22 0:44 / /with\\040space rw - fuse.sshfs host: rw,user_id=0
45 22 0:45 / /shm rw - tmpfs tmpfs rw
46 22 0:46 / /gpfs rw - gpfs fs1 rw
47 22 0:47 / /bee rw - beegfs beegfs_nodev rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "locks"),
    [
        ("/data", "ext4", Locks.MACHINE),
        ("/lustre/user", "lustre", Locks.BLIND),
        ("/lustre/flock/user", "lustre", Locks.ALL),
        ("/lustrelike", "ext4", Locks.MACHINE),
        ("/home/user", "nfs4", Locks.ALL),
        ("/old", "nfs", Locks.BLIND),
        ("/with space/x", "fuse.sshfs", Locks.BLIND),
        ("/shm/x", "tmpfs", Locks.MACHINE),
        ("/gpfs/x", "gpfs", Locks.ALL),
        ("/bee/x", "beegfs", Locks.BLIND),
    ],
)
def test_what_a_lock_is_worth_is_read_from_the_mount(path: str, kind: str, locks: Locks) -> None:
    system = find_mount(MOUNTS, path)
    assert isinstance(system, FileSystem)
    assert (system.type, system.locks) == (kind, locks)


# ---------------------------------------------------------------- real pools


def age(project: Project, days: float, environments: Sequence[Path] | None = None) -> None:
    """Makes these environments (None: every one) as old, and unused for as long, as that."""
    then = time.time() - days * DAY
    for environment in project.environments if environments is None else environments:
        manifest = environment / "sharedenv.json"
        value = json.loads(manifest.read_text())
        value["built"] = then
        manifest.write_text(json.dumps(value))
        note = project.pool / "used" / environment.name
        note.touch()
        os.utime(note, (then, then))


def pruned(project: Project, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[list[str], dict[str, str]]:
    """What `prune --json` removed, and what it kept and why."""
    document = json.loads(project.call("prune", "--json", *arguments, env=env).stdout)
    assert document["schema"] == 1 and document["errors"] == []
    return [item["name"] for item in document["removed"]], {item["name"]: item["reason"] for item in document["kept"]}


def sleeper(project: Project, name: str = "s.py", *arguments: str) -> subprocess.Popen[str]:
    """A script that runs in its environment until it is told to end, started and seen to run."""
    mark = project.path / f"{name}.runs"
    mark.unlink(missing_ok=True)
    body = f"import pathlib, sys, time\npathlib.Path({str(mark)!r}).touch()\nsys.stdin.read()\nimport alpha\nprint('fine')"
    project.script(name, ["alpha"], body)
    process = project.start("exec", *arguments, name, stdin=subprocess.PIPE)
    wait_for(mark.exists)
    return process


def finish(process: subprocess.Popen[str]) -> str:
    """Lets a sleeper end; what it printed."""
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout


def test_prune_removes_the_environment_with_all_that_leads_to_it(project: Project) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("exec", "s.py")
    age(project, 31)
    told = project.call("prune")
    assert "removed" in told.stdout and "unused for 31 days" in told.stdout
    assert "removed 1 environment (" in told.stderr
    for folder in ("envs", "keys", "index", "used", "trash", "tmp"):
        assert list((project.pool / folder).iterdir()) == [], folder
    assert project.call("exec", "s.py").stdout == "ran\n"


def test_age_counts_from_the_last_use_and_looking_is_no_use(project: Project) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("exec", "s.py")
    age(project, 31)
    for command in (["list"], ["show", "s.py"], ["verify"], ["which", "s.py"], ["doctor"]):
        project.call(*command)
    assert len(pruned(project, "--dry-run")[0]) == 1
    project.call("exec", "s.py")
    assert pruned(project)[0] == [], "built long ago, used now"


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "EACCES"])
def test_a_disk_that_fails_proves_nothing(project: Project, error: str) -> None:
    require("strace", root=False)
    project.script("s.py", ["alpha"])
    project.build("s.py")
    age(project, 99)
    manifest = project.environments[0] / "sharedenv.json"
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(manifest), "-e", f"inject=openat,open:error={error}"]
    argv += [sys.executable, "-m", "sharedenv", "prune"]
    done = subprocess.run(argv, cwd=project.path, env=project.env, capture_output=True, text=True, check=False)
    assert f"kept {project.environments[0].name}: its manifest can't be read" in done.stdout, done.stderr


def test_dry_run_says_the_same_and_removes_nothing(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.build("s.py")
    age(project, 31)
    assert "would remove" in project.call("prune", "--dry-run").stdout
    removed, _ = pruned(project, "--dry-run")
    assert removed == [project.environments[0].name]


def test_what_runs_is_kept_and_named_and_nobody_waits(project: Project) -> None:
    process = sleeper(project)
    age(project, 99)
    removed, kept = pruned(project)
    assert removed == [] and list(kept.values()) == [f"in use by process {process.pid}"]
    assert f"process {process.pid} of {user_name(os.geteuid())} (s.py)" in project.call("show", "s.py").stdout
    assert "in use" in project.call("list").stdout
    assert finish(process) == "fine\n"
    assert pruned(project)[0], "and goes when it has ended"


def test_what_a_script_started_and_left_behind_still_holds_its_environment(project: Project) -> None:
    body = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], close_fds=False)"
    project.script("s.py", ["alpha"], body)
    process = project.start("exec", "s.py", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.wait(timeout=120)
    age(project, 99)
    removed, kept = pruned(project)
    assert removed == [] and "in use by process" in next(iter(kept.values()))
    assert process.stdin is not None
    process.stdin.close()
    wait_for(lambda: pruned(project)[0])


def test_a_replaced_generation_goes_once_nobody_runs_in_it(project: Project) -> None:
    process = sleeper(project)
    project.call("build", "--rebuild", "s.py")
    old, new = project.environments
    removed, kept = pruned(project)
    assert removed == [] and kept[old.name] == f"in use by process {process.pid}"
    finish(process)
    removed, kept = pruned(project)
    assert removed == [old.name] and list(kept) == [new.name]


def test_keep_is_by_need(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.script("b.py", ["beta"])
    project.script("c.py", ["alpha>=1"])
    project.build("a.py", "b.py", "c.py")
    kept_path = Path(project.call("which", "a.py").stdout.strip()).parent.parent
    removed, kept = pruned(project, "--keep", "a.py")
    assert len(removed) == 2 and kept == {kept_path.name: "needed by the scripts named"}
    told = project.call("prune", "--keep", "gone.py", status=2)
    assert "gone.py" in told.stderr, "a script that can't be read is no reason to remove what it needs"
    assert project.call("prune", "--keep", status=2).stderr
    assert project.call("prune", "a.py", status=2).stderr


@pytest.mark.parametrize("named", [(), ("a.py",)], ids=["the list alone", "and one more"])
def test_keep_takes_its_scripts_from_standard_input(project: Project, named: tuple[str, ...]) -> None:
    scripts = [project.script("a.py", []), project.script("b.py", [], requires_python=">=3.7")]
    project.build("a.py", "b.py")
    reader, writer = os.pipe()
    with open(reader) as stdin, open(writer, "w") as list_:
        print(*scripts, sep="\n", file=list_, flush=True)
        list_.close()
        done = project.call("prune", "--keep", *named, "--from-file", "-", stdin=stdin)
    assert done.stdout.count("needed by the scripts named") == 2 and len(project.environments) == 2


def test_an_unfinished_run_keeps_its_environments(project: Project) -> None:
    project.script("s.py", ["alpha"], "import sys; sys.stdin.read()")
    project.script("wait.py", [], "import time, pathlib\npathlib.Path('running').touch()\nwhile not pathlib.Path('end').exists(): time.sleep(0.05)")
    project.build("s.py", "wait.py")
    run = project.start("run", "-j", "1", "wait.py", "s.py")
    try:
        wait_for((project.path / "running").exists)
        age(project, 99)
        removed, kept = pruned(project)
        assert removed == []
        assert any("not finished, needs it" in reason or "in use" in reason for reason in kept.values())
    finally:
        (project.path / "end").touch()
        run.communicate(timeout=120)
    assert len(pruned(project)[0]) == 2


def test_sizes_and_ages_are_read_as_people_write_them(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.build("s.py")
    assert pruned(project, "--max-size", "20G")[0] == []
    assert pruned(project, "--unused-for", "2w")[0] == []
    assert "no length of time" in project.call("prune", "--unused-for", "30", status=2).stderr
    for size in ("big", "9" * 300 + "T", "10i", "G"):
        assert "no size" in project.call("prune", "--max-size", size, status=2).stderr
    for size in ("10", "10.5"):
        assert "no unit" in project.call("prune", "--max-size", size, status=2).stderr, "10G was meant, and 10 bytes leave nothing"
    assert len(pruned(project, "--max-size", "0", "--dry-run")[0]) == len(pruned(project, "--max-size", "10B", "--dry-run")[0]) == 1
    assert pruned(project, "--max-size", "1.5 GiB")[0] == []
    assert len(pruned(project, "--max-size", "1k")[0]) == 1


def test_what_is_in_use_makes_no_room_and_the_next_goes_in_its_place(project: Project) -> None:
    process = sleeper(project)
    running = project.environments
    project.script("b.py", ["beta"])
    project.script("g.py", ["gamma"])
    project.build("b.py")
    age(project, 2)
    age(project, 3, running)
    project.build("g.py")
    names = {item["scripts"][0]: item["name"] for item in json.loads(project.call("list", "--json").stdout)["environments"]}
    total = sum(item["bytes"] for item in json.loads(project.call("list", "--json").stdout)["environments"])
    removed, kept = pruned(project, "--max-size", f"{total - 1}B", "--dry-run")
    assert kept[names["s.py"]] == f"in use by process {process.pid}", "the least recently used"
    assert removed == [names["b.py"]]
    told = project.call("prune", "--max-size", "1B")
    assert "what stays takes" in told.stderr and "more than asked for" in told.stderr
    assert [path.name for path in project.environments] == [names["s.py"]]
    assert finish(process) == "fine\n"


def damage(run: Path) -> None:
    """Cuts the record of a run short, as a full disk does."""
    (run / "run.json").write_text('{"comm')


def lock_out(run: Path) -> None:
    """Makes a run one that a colleague can't look into."""
    run.chmod(0o000)


@pytest.mark.parametrize("spoil", [damage, lock_out])
def test_a_run_that_cannot_be_read_may_need_anything(project: Project, spoil: Callable[[Path], None]) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("run", "s.py")
    (run,) = (project.pool / "runs").iterdir()
    age(project, 99)
    spoil(run)
    done = project.call("prune", prefix=UNPRIVILEGED)
    assert f"run {run.name} can't be read, and may need it" in done.stdout and project.environments
    run.chmod(0o755)
    then = time.time() - 2 * DAY
    for path in (*run.iterdir(), run):
        os.utime(path, (then, then))
    if spoil is damage:
        assert pruned(project)[0], "and is forgotten when nothing was heard of it for a day"


def test_a_run_on_another_machine_is_given_an_hour_of_silence(project: Project) -> None:
    """Clocks of nodes differ; a heartbeat that looks old may be young."""
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("run", "s.py")
    (results,) = (project.pool / "runs").glob("*/results-*")
    first = json.loads(results.read_text().splitlines()[0])
    first["owner"]["machine"] = "another"
    results.write_text(json.dumps(first) + "\n")
    age(project, 99)
    for silence, stays in ((600, True), (4000, False)):
        then = time.time() - silence
        os.utime(results, (then, then))
        removed, kept = pruned(project, "--dry-run")
        assert bool(kept) == stays and bool(removed) != stays


def test_rubbish_of_a_killed_build_goes_and_a_live_builds_staging_stays(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.build("s.py")
    dead = project.pool / "tmp" / "0123456789ab-dead"
    live = project.pool / "tmp" / "0123456789ab-live"
    foreign = project.pool / "tmp" / "0123456789ab-far"
    for folder, machine, pid in ((dead, None, 2**22 + 1), (live, None, os.getpid()), (foreign, "another", 1)):
        folder.mkdir()
        record = {**this_process().record(), "pid": pid}
        if machine:
            record["machine"] = machine
        (folder / "owner.json").write_text(json.dumps(record))
    (project.pool / "trash" / "x-1").mkdir()
    (project.pool / "keys" / ("0" * 64)).symlink_to("../envs/000000000000-1")
    (project.pool / "index" / "f").symlink_to("../envs/000000000000-1")
    (project.pool / "used" / "000000000000-1").touch()
    project.call("prune")
    assert sorted(path.name for path in (project.pool / "tmp").iterdir()) == [foreign.name, live.name]
    assert not any((project.pool / "trash").iterdir())
    assert len(list((project.pool / "keys").iterdir())) == 1
    assert not (project.pool / "index" / "f").is_symlink() and not (project.pool / "used" / "000000000000-1").exists()
    then = time.time() - 2 * DAY
    for path in (foreign, foreign / "owner.json"):
        os.utime(path, (then, then))
    project.call("prune")
    assert [path.name for path in (project.pool / "tmp").iterdir()] == [live.name]


def test_what_killed_processes_were_writing_goes_after_an_hour(project: Project) -> None:
    project.script("s.py")
    project.build("s.py")
    names = (".CACHEDIR.TAG.01234567", "..gitignore.01234567", ".pool.json.01234567", "archives/half.tar", "runs/.new-node-1-20260101-000000")
    (project.pool / "archives").mkdir(exist_ok=True)
    for name in names[:4]:
        (project.pool / name).touch()
    (project.pool / names[4]).mkdir()
    (project.pool / names[4] / "plan.jsonl").touch()
    project.call("prune")
    assert all((project.pool / name).exists() for name in names)
    then = time.time() - 4000
    for name in names:
        os.utime(project.pool / name, (then, then))
    told = project.call("-v", "prune").stderr
    assert all(f"removed {name}: left by a process that ended" in told for name in names)
    assert not any((project.pool / name).exists() for name in names)


def test_a_disk_that_fails_to_say_where_keys_lead_keeps_what_they_may_lead_to(project: Project) -> None:
    require("strace", root=False)
    project.script("s.py", body="print('ran')")
    project.build("s.py")
    [link] = (project.pool / "keys").iterdir()
    manifest = project.environments[0] / "sharedenv.json"
    value = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**value, "built": value["built"] - 60 * DAY}))
    fails = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=readlink,readlinkat:error=EIO")
    assert "its key can't be read: Input/output error" in project.call("prune", prefix=fails).stdout
    fails = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=unlink,unlinkat:error=EIO")
    assert "it can't be removed: Input/output error" in project.call("prune", prefix=fails).stdout
    assert link.is_symlink() and project.call("exec", "s.py").stdout == "ran\n"


def test_of_two_prunes_one_finds_what_the_other_removed(project: Project) -> None:
    """Between the look at a link and the look at where it leads."""
    require("strace", root=False)
    project.script("s.py")
    project.build("s.py")
    link = project.pool / "index" / ("0" * 64)
    link.symlink_to("../envs/gone-1")
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(link), "-e", "inject=readlink,readlinkat:error=ENOENT"]
    project.call("prune", prefix=argv)


def test_a_prune_beside_a_build_touches_nothing_of_it(project: Project) -> None:
    project.script("s.py", ["beta", "tool"], "import alpha; print('ran')")
    build = project.start("build", "s.py")
    wait_for((project.pool / "pool.json").exists)
    while build.poll() is None:
        project.call("prune", "--unused-for", "0s")
    _, stderr = build.communicate(timeout=60)
    assert build.returncode == 0, stderr
    assert project.call("exec", "s.py").stdout == "ran\n"


def test_prune_in_a_loop_against_starts_and_long_scripts_fails_no_import(project: Project) -> None:
    """The race between a prune and a start is settled by the second look: whoever finds it gone builds or finds another."""
    project.script("short.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    long = [sleeper(project, f"long{i}.py") for i in range(2)]
    stop = project.path / "stop"
    loop = subprocess.Popen(
        ["sh", "-c", f'while [ ! -e "{stop}" ]; do "{sys.executable}" -m sharedenv -q prune --unused-for 0s || exit 1; done'],
        cwd=project.path, env=project.env, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(6):
        assert project.call("exec", "short.py").stdout == "2.0\n"
    # the environment of the long ones is the short one's: let it go from under nobody, then everything
    assert [finish(process) for process in long] == ["fine\n"] * 2
    for _ in range(3):
        assert project.call("exec", "short.py").stdout == "2.0\n"
    stop.touch()
    assert loop.wait(timeout=120) == 0
    wait_for(lambda: [project.call("prune", "--unused-for", "0s"), not project.environments][1])


def test_what_is_pruned_between_look_up_and_start_is_built_by_run(project: Project, tmp_path: Path) -> None:
    project.script("s.py", body="print('ran')")
    project.build("s.py")
    [link] = (project.pool / "keys").iterdir()
    code = """#define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <stdlib.h>
        #include <sys/file.h>
        #include <unistd.h>
        int flock(int descriptor, int operation) {
            static int once;
            if (operation & LOCK_SH && !once++ && unlink(getenv("TEST_LINK")) == 0) { errno = EWOULDBLOCK; return -1; }
            return ((int (*)(int, int)) dlsym(RTLD_NEXT, "flock"))(descriptor, operation);
        }"""
    env = {**preloaded(tmp_path, code), "TEST_LINK": str(link)}
    assert project.call("run", "s.py", env=env).stdout == "ran\n"
    assert link.is_symlink()
    told = project.call("run", "--no-build", "s.py", env=env, status=3).stderr
    assert "was taken away while it was wanted" in told and "hint: sharedenv build s.py" in told


@pytest.mark.root
def test_what_is_in_the_lower_layer_of_an_overlay_goes(project: Project, tmp_path: Path) -> None:
    """A container whose image has a pool: what is of the image can be deleted and not renamed."""
    require("mount")
    project.script("s.py", body="print('ran')")
    project.build("s.py")
    with mounted(tmp_path / "layers", "-t", "tmpfs", "none") as layers:
        (layers / "upper").mkdir()
        (layers / "work").mkdir()
        options = f"lowerdir={project.path},upperdir={layers}/upper,workdir={layers}/work"
        with mounted(tmp_path / "merged", "-t", "overlay", "-o", options, "none") as folder:
            there = Project(folder, project.env)
            assert "removed 1 environment" in there.call("prune", "--unused-for", "0s").stderr
            assert not there.environments
            assert there.call("run", "s.py").stdout == "ran\n"
            assert f"removed the pool {there.pool}" in there.call("prune", "--all").stderr
            assert os.listdir(folder) == ["s.py"]
    assert len(project.environments) == 1


@pytest.mark.root
def test_where_locks_are_blind_what_was_used_within_a_day_stays(project: Project, tmp_path: Path) -> None:
    require("bindfs")
    process = sleeper(project)
    try:
        with bound(project.path, tmp_path / "node2") as folder:
            there = Project(folder, project.env)
            told = there.call("prune", "--unused-for", "0s")
            assert "don't reach other nodes" in told.stderr
            assert "kept" in told.stdout and "used" in told.stdout
            age(project, 2)
            assert pruned(there, "--unused-for", "3d")[0] == []
    finally:
        assert finish(process) == "fine\n"
    assert module(project.environments[0]).exists()


@pytest.mark.root
def test_where_flock_is_missing_scripts_run_and_prune_leans_on_the_last_use(project: Project) -> None:
    require("strace", root=False)
    project.script("s.py", ["alpha"], "print('ran')")
    without = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOSYS"]
    command = [*without, sys.executable, "-m", "sharedenv"]
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*command, *arguments]
        return subprocess.run(argv, cwd=project.path, env=project.env, capture_output=True, text=True, check=False)

    done = call("exec", "s.py")
    assert done.stdout == "ran\n", done.stderr
    told = call("prune", "--unused-for", "0s")
    assert "no lock tells whether it is in use here" in told.stdout, told.stderr
    assert len(project.environments) == 1
    age(project, 40)
    assert "removed" in call("prune").stdout and not project.environments


def test_a_prune_that_is_killed_leaves_a_pool_that_works(project: Project) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    for delay in (0.15, 0.3):
        project.build("s.py")
        process = project.start("prune", "--unused-for", "0s")
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert project.call("exec", "s.py").stdout == "ran\n"
    project.call("verify")
