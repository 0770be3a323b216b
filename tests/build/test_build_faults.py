"""What happens to pools: kills, full disks, races, dead holders, file systems that lie. Each leaves the pool usable."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.care.test_verify import module, replace
from tests.conftest import UNPRIVILEGED, Project
from tests.faults import bound, image, limited_to, mounted, other_host, preloaded, require, wait_for
from tests.wheels import make_wheel

KILLS = int(os.environ.get("SHAREDENV_TEST_KILLS", "12"))  # scripts/soak has the full count
RUNS = "import alpha; print('ran')"


def sound(project: Project, script: str = "s.py") -> None:
    """The pool works: the script runs, what is published verifies, and nothing that fails verify stands in envs/."""
    assert project.call("exec", script).stdout == "ran\n"
    document = json.loads(project.call("verify", "--json").stdout)
    assert all(environment["sound"] for environment in document["environments"])


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a process and all that it started, uv in its own group too."""
    victims = [process.pid, *descendants(process.pid)]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.communicate(timeout=60)


def descendants(pid: int) -> list[int]:
    """Processes below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children") if Path(f"/proc/{pid}").exists() else ():
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def many_wheels(folder: Path) -> None:
    """A wheel with enough files that an install has instants to be killed at."""
    modules = {"alpha.py": "VERSION = '3.0'\n", **{f"many/m{i}.py": f"x = {i}\n" for i in range(150)}}
    make_wheel(folder, "alpha", "3.0", modules=modules)


@pytest.mark.slow
def test_killed_at_any_instant_of_a_build_the_next_one_succeeds(project: Project, tmp_path: Path) -> None:
    many_wheels(tmp_path / "wheels")
    project.env["UV_FIND_LINKS"] = str(tmp_path / "wheels")
    project.script("s.py", ["alpha"], RUNS)
    started = time.monotonic()
    project.call("build", "s.py")
    length = time.monotonic() - started
    dice = random.Random(5)
    for i in range(KILLS):
        process = project.start("build", "--rebuild", "s.py", start_new_session=True)
        time.sleep(length * (i + dice.random()) / KILLS)
        kill_group(process)
        # whatever was there stays usable without a build, and the next build finds no obstacle
        assert project.call("exec", "--no-build", "s.py").stdout == "ran\n"
    project.call("build", "--rebuild", "s.py")
    sound(project)
    project.call("prune")
    for left in (project.pool / "tmp").iterdir():  # killed before it said who builds there, or after: kept for a day
        assert not any(left.iterdir())
        os.utime(left, (0, 0))
    project.call("prune")
    assert not any((project.pool / "tmp").iterdir()) and not any((project.pool / "locks").iterdir())
    assert len(project.environments) == 1


@pytest.mark.parametrize("when", [1, 20, 60])
def test_uv_killed_in_the_middle_of_an_install_publishes_nothing(project: Project, tmp_path: Path, when: int) -> None:
    """uv itself calls what such a kill leaves fine (exit 0) and installs no more into it."""
    require("strace", root=False)
    many_wheels(tmp_path / "wheels")
    project.env["UV_FIND_LINKS"] = str(tmp_path / "wheels")
    project.script("s.py", ["alpha"], RUNS)
    uv = project.path / "uv"
    real = subprocess.run(["which", "uv"], env=project.env, capture_output=True, text=True, check=True).stdout.strip()
    inject = f"strace -f -o /dev/null -e trace=link,linkat -e inject=link,linkat:signal=KILL:when={when}"
    uv.write_text(f'#!/bin/sh\ncase "$*" in *" sync "*) exec {inject} {shlex.quote(real)} "$@";; *) exec {shlex.quote(real)} "$@";; esac\n')
    uv.chmod(0o755)
    told = project.call("build", "s.py", status=3, env={"SHAREDENV_UV": str(uv)})
    assert "can't build environment" in told.stderr
    assert project.environments == [] and not any((project.pool / "keys").iterdir())
    sound(project)


def test_an_install_that_lost_files_is_not_published(project: Project) -> None:
    project.script("s.py", ["alpha"], RUNS)
    uv = project.path / "uv"
    real = subprocess.run(["which", "uv"], env=project.env, capture_output=True, text=True, check=True).stdout.strip()
    uv.write_text(
        f'#!/bin/sh\n{shlex.quote(real)} "$@"; status=$?\n'
        '[ -z "$VIRTUAL_ENV" ] || rm -f "$VIRTUAL_ENV"/lib/python*/site-packages/alpha.py\nexit $status\n'
    )
    uv.chmod(0o755)
    told = project.call("build", "s.py", status=3, env={"SHAREDENV_UV": str(uv)})
    assert "the install is incomplete: 1 recorded files are missing or empty" in told.stderr
    assert project.environments == []
    sound(project)


def test_a_bug_met_in_one_build_ends_no_other(project: Project, tmp_path: Path) -> None:
    """Here a uv whose answer to `sync` is not what ours was seen to say."""
    scripts = [project.script(f"{name}.py", [name]).name for name in ("alpha", "beta", "gamma")]
    uv = project.path / "uv"
    real = subprocess.run(["which", "uv"], env=project.env, capture_output=True, text=True, check=True).stdout.strip()
    uv.write_text(f'#!/bin/sh\nfor last; do case "$last" in */script.py) grep -q alpha "$last" && echo nonsense && exit 0;; esac; done\nexec {shlex.quote(real)} "$@"\n')
    uv.chmod(0o755)
    told = project.call("build", "-j1", *scripts, status=70, env={"SHAREDENV_UV": str(uv), "TMPDIR": str(tmp_path)})
    assert "a bug of its own" in told.stderr and told.stderr.count("built environment") == 2
    assert len(project.environments) == 2


def test_a_builder_killed_before_its_last_step_leaves_an_environment_that_is_taken_up(project: Project) -> None:
    project.script("s.py", ["alpha"], RUNS)
    project.call("build", "s.py")
    key = project.call("key", "s.py").stdout.split()[0]
    (project.pool / "keys" / key).unlink()
    os.chmod(project.environments[0], 0o755)
    project.call("build", "s.py", env={"SHAREDENV_UV": "/nonexistent"})
    assert len(project.environments) == 1 and project.environments[0].stat().st_mode & 0o222 == 0
    sound(project)


@pytest.mark.root
@pytest.mark.parametrize(
    ("processes", "whats"),
    [(1, {"thread"}), (2, {"thread"}), (3, {"thread", "process"}), (4, {"thread", "process", ""})],
    ids=["own thread", "thread of the lease", "uv", "thread of uv"],
)
def test_a_limit_of_processes_is_told_as_that_and_leaves_nothing(project: Project, processes: int, whats: set[str]) -> None:
    """What is asked of uv and of a Python beside may be over before the next one is started, or not."""
    project.script("first.py")
    project.call("build", "first.py")
    project.script("s.py", ["alpha"], RUNS)
    done = project.call("build", "s.py", prefix=limited_to(processes), status=3)
    told = {what for what in whats if (f"error: can't start another {what}\n" if what else "error: can't build environment") in done.stderr}
    assert len(told) == 1, done.stderr
    assert "hint: ulimit -u\n" in done.stderr
    assert "no Python here" not in done.stderr
    assert len(project.environments) == 1
    assert not any([*(project.pool / "tmp").iterdir(), *(project.pool / "locks").iterdir()])
    sound(project)


def race(project: Project, count: int, prefix: Sequence[Sequence[str]] = ((),), folders: Sequence[Path] = ()) -> list[str]:
    """That many cold starts of one script at once, each with its own TMPDIR; what each printed on stderr."""
    processes = []
    for i in range(count):
        scratch = project.path / f"tmp{i}"
        scratch.mkdir(exist_ok=True)
        folder = folders[i % len(folders)] if folders else project.path
        argv = [*prefix[i % len(prefix)], sys.executable, "-m", "sharedenv", "exec", "s.py"]
        processes.append(
            subprocess.Popen(
                argv, cwd=folder, env={**project.env, "TMPDIR": str(scratch)}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    told = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=280)
        assert (process.returncode, stdout) == (0, "ran\n"), stderr
        told.append(stderr)
    return told


def test_sixteen_cold_starts_make_one_build(project: Project) -> None:
    project.script("s.py", ["alpha"], RUNS)
    told = race(project, 16)
    assert sum("built environment" in text for text in told) == 1
    assert len(project.environments) == 1
    sound(project)


@pytest.mark.root
def test_two_mounts_of_one_folder_on_two_hosts_make_one_environment(project: Project, tmp_path: Path) -> None:
    """flock is local to each mount, process numbers to each host: exclusive creation and rename hold."""
    require("bindfs", "unshare")
    project.script("s.py", ["alpha"], RUNS)
    project.call("init")  # the two mounts look like two cases
    with bound(project.path, tmp_path / "m1") as one, bound(project.path, tmp_path / "m2") as two:
        hosts = [other_host("node1"), other_host("node2")]
        told = race(project, 6, hosts, [one, two])
        assert sum("built environment" in text for text in told) == 1
    assert len(project.environments) == 1
    sound(project)


HOLDER = """\
import sys, time
import sharedenv.pool.lease as lease
from sharedenv.pool.layout import Layout
from sharedenv.pool.staging import staging
lease.DURATION = 4.0
layout = Layout(sys.argv[1])
with lease.lease(layout, sys.argv[2], waiting=print), staging(layout, sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""
BUILD = """\
import sys
import sharedenv.pool.lease as lease
lease.DURATION = 4.0
from sharedenv.cli.main import main
sys.exit(main(["build", "s.py"]))
"""


def holder(project: Project, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A process that holds the lease of s.py."""
    project.script("s.py", ["alpha"], RUNS)
    project.script("o.py", ["beta"])
    project.call("build", "o.py")  # so that there is a pool
    key = project.call("key", "s.py").stdout.split()[0]
    argv = [*prefix, sys.executable, "-c", HOLDER, str(project.pool), key]
    process = subprocess.Popen(argv, env=project.env, cwd=project.path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Kills a holder."""
    for pid in [*descendants(process.pid), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)


def test_a_dead_holder_on_this_host_is_seen_at_once(project: Project) -> None:
    end(holder(project))
    assert any((project.pool / "locks").iterdir())
    done = subprocess.run([sys.executable, "-c", BUILD], env=project.env, cwd=project.path, capture_output=True, text=True, check=True)
    assert "waiting" not in done.stderr
    sound(project)


def test_a_lock_timeout_is_a_duration_as_every_other(project: Project) -> None:
    """-1 waited for ever, without a word, and nan was a bug of ours."""
    process = holder(project)
    try:
        for given in ("-1", "nan"):
            assert "is no duration" in project.call("build", "--lock-timeout", given, "s.py", status=2).stderr
        code = BUILD.replace('"s.py"', '"--lock-timeout", "0.02m", "s.py"')
        done = subprocess.run([sys.executable, "-c", code], env=project.env, cwd=project.path, capture_output=True, text=True, check=False)
        assert f"gave up waiting after 1.2 s: pid {process.pid} on" in done.stderr and done.returncode == 3
    finally:
        end(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_for_a_build_can_be_ended(project: Project, number: signal.Signals) -> None:
    process = holder(project)
    said = project.path / "said"
    try:
        with said.open("w") as file:
            waiting = subprocess.Popen([sys.executable, "-c", BUILD], env=project.env, cwd=project.path, stderr=file)
        wait_for(lambda: "waiting for environment" in said.read_text())
        waiting.send_signal(number)
        waiting.communicate(timeout=30)
        assert waiting.returncode == (130 if number == signal.SIGINT else 143)
    finally:
        end(process)
    sound(project)


def test_one_who_died_while_taking_the_lease_is_not_waited_for(project: Project) -> None:
    """Between creating and writing it: what is left is empty, and names nobody who could be seen to be dead."""
    project.script("s.py", ["alpha"], RUNS)
    project.script("o.py", ["beta"])
    project.call("build", "o.py")
    lock = project.pool / "locks" / project.call("key", "s.py").stdout.split()[0]
    lock.touch()
    told = project.call("build", "--lock-timeout", "120", "s.py")
    assert "waiting for environment" in told.stderr and "built environment" in told.stderr
    lock.touch()
    then = time.time() - 3600
    os.utime(lock, (then, then))
    project.call("prune")
    assert not lock.exists()
    sound(project)


def test_a_builder_killed_before_its_lease_is_written_holds_up_nobody(project: Project) -> None:
    require("strace", root=False)
    project.script("s.py", ["alpha"], RUNS)
    project.script("o.py", ["beta"])
    project.call("build", "o.py")
    lock = project.pool / "locks" / project.call("key", "s.py").stdout.split()[0]
    killed = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(lock), "-e", "inject=write:signal=KILL"]
    project.call("build", "s.py", prefix=killed, status=None)
    assert lock.exists() and lock.stat().st_size == 0
    sound(project)


@pytest.mark.root
def test_a_dead_holder_on_another_host_is_given_up_after_its_lease(project: Project) -> None:
    require("unshare")
    end(holder(project, other_host("node7")))
    done = subprocess.run([sys.executable, "-c", BUILD], env=project.env, cwd=project.path, capture_output=True, text=True, check=True)
    assert "waiting for environment" in done.stderr and "on node7 builds it since" in done.stderr
    sound(project)


@pytest.mark.root
def test_a_live_holder_on_another_host_is_waited_for_by_name_and_given_up_on_request(project: Project) -> None:
    require("unshare")
    process = holder(project, other_host("node7"))
    since = next((project.pool / "tmp").glob("*/owner.json")).stat().st_mtime
    began = time.strftime("%H:%M:%S", time.localtime(since))
    lease = project.pool / "locks" / project.call("key", "s.py").stdout.split()[0]
    wait_for(lambda: int(lease.stat().st_mtime) > int(since))  # heartbeats, one each 4/3 seconds, don't change since when it builds
    try:
        build = subprocess.run(
            [sys.executable, "-c", BUILD.replace('"s.py"', '"--lock-timeout", "6", "s.py"')],
            env=project.env, cwd=project.path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert build.returncode == 3
        assert f"on node7 builds it since {began}" in build.stderr
        assert "gave up waiting after 6 s: pid" in build.stderr
    finally:
        end(process)


def test_a_failure_is_told_to_all_who_waited_and_the_next_call_tries_again(project: Project) -> None:
    project.script("s.py", ["alpha"], RUNS)
    uv = project.path / "uv"
    count = project.path / "count"
    real = subprocess.run(["which", "uv"], env=project.env, capture_output=True, text=True, check=True).stdout.strip()
    counted, go = shlex.quote(str(count)), shlex.quote(str(project.path / "go"))
    uv.write_text(
        f'#!/bin/sh\ncase "$*" in *" sync "*) echo x >>{counted}; while [ ! -e {go} ]; do sleep 0.1; done\n'
        f'echo "the index burned down" >&2; exit 2;; *) exec {shlex.quote(real)} "$@";; esac\n'
    )
    uv.chmod(0o755)
    said = [project.path / f"e{i}" for i in range(3)]
    waiting = []
    for path in said:
        with path.open("w") as file:
            waiting.append(project.start("build", "s.py", env={"SHAREDENV_UV": str(uv)}, stderr=file))
    wait_for(lambda: sum("waiting for environment" in path.read_text() for path in said) == 2)
    (project.path / "go").touch()
    for process, path in zip(waiting, said, strict=True):
        process.communicate(timeout=120)
        assert process.returncode == 3 and "the index burned down" in path.read_text()
    assert count.read_text() == "x\n", "one attempt for all of them"
    project.call("build", "s.py", env={"SHAREDENV_UV": str(uv)}, status=3)
    assert count.read_text() == "x\nx\n", "and another for the next call"
    sound(project)


@pytest.mark.root
@pytest.mark.parametrize("options", ["size=600k", "size=64m,nr_inodes=60"], ids=["no bytes", "no inodes"])
def test_a_full_disk_leaves_no_environment_and_says_so(project: Project, tmp_path: Path, options: str) -> None:
    require("mount")
    many_wheels(tmp_path / "wheels")
    project.env["UV_FIND_LINKS"] = str(tmp_path / "wheels")
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", options, "none") as folder:
        full = Project(folder, project.env)
        full.script("s.py", ["alpha"], RUNS)
        told = full.call("build", "s.py", status=3)
        assert "No space left on device" in told.stderr or "os error 28" in told.stderr
        assert full.environments == [] or not any((full.pool / "keys").iterdir())
        assert full.call("exec", "--no-build", "s.py", status=125).stderr
        subprocess.run(["mount", "-o", "remount,size=64m,nr_inodes=10000", str(folder)], check=True)
        sound(full)
        full.call("prune")
        assert not any((full.pool / "tmp").iterdir())


@pytest.mark.root
def test_a_full_ext4_and_a_pool_on_another_file_system_than_uvs_cache(project: Project, tmp_path: Path) -> None:
    require("mkfs.ext4", "mount")
    with image(tmp_path / "ext4", 16, "mkfs.ext4", "-q", "-N", "80") as folder:
        full = Project(folder, project.env)
        full.script("s.py", ["alpha"], RUNS)
        full.call("build", "s.py")  # copied, since nothing can be linked here
        sound(full)
        full.script("many.py", ["beta", "tool", "gamma[more]"])
        told = full.call("build", "many.py", status=3)
        assert "No space left on device" in told.stderr or "os error 28" in told.stderr
        sound(full)


def test_a_manifest_that_can_not_be_read_once_it_is_published_is_told(project: Project, tmp_path: Path) -> None:
    project.script("s.py")
    code = """#define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <string.h>
        int open64(const char *path, int flags, int mode) {
            if (strstr(path, "-1/sharedenv.json") && strstr(path, "/envs/")) { errno = EIO; return -1; }
            return ((int (*)(const char *, int, int)) dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
        }"""
    told = project.call("build", "s.py", env=preloaded(tmp_path, code), status=3).stderr
    assert "error: what was just built can't be read" in told and "its manifest can't be read: Input/output error" in told
    project.call("build", "s.py")


@pytest.mark.root
def test_a_full_disk_at_a_repair_is_told(project: Project, tmp_path: Path) -> None:
    require("mount")
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", "size=8m", "none") as folder:
        full = Project(folder, project.env)
        full.script("s.py", ["alpha"], RUNS)
        full.call("build", "s.py")
        replace(module(full.environments[0]), "VERSION = 'changed'\n")
        with (folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        told = json.loads(full.call("verify", "--repair", "--json", status=3).stdout)
        assert len(told["environments"]) == 1 and told["errors"][0]["cause"].startswith("No space left on device")
        (folder / "filler").unlink()
        assert "1 repaired" in full.call("verify", "--repair").stderr


@pytest.mark.root
def test_a_quota_that_is_spent_leaves_no_environment(project: Project, tmp_path: Path) -> None:
    require("mkfs.btrfs", "btrfs", "mount")
    noise = random.Random(1).randbytes(3_000_000).hex()  # so that no compression makes it fit
    make_wheel(tmp_path / "wheels", "alpha", "3.0", modules={"alpha.py": "", "big.py": f"x = '{noise}'\n"})
    project.env["UV_FIND_LINKS"] = str(tmp_path / "wheels")
    with image(tmp_path / "btrfs", 200, "mkfs.btrfs", "-q") as folder:
        subprocess.run(["btrfs", "quota", "enable", str(folder)], check=True)
        subprocess.run(["btrfs", "subvolume", "create", str(folder / "user")], check=True, capture_output=True)
        subprocess.run(["btrfs", "qgroup", "limit", "2M", str(folder / "user")], check=True)
        small = Project(folder / "user", project.env)
        small.script("s.py", ["alpha"], RUNS)
        told = small.call("build", "s.py", status=3)
        assert "Disk quota exceeded" in told.stderr or "os error 122" in told.stderr
        assert small.environments == []
        subprocess.run(["btrfs", "qgroup", "limit", "none", str(folder / "user")], check=True)
        sound(small)


@pytest.mark.root
def test_a_pool_that_is_mounted_read_only_runs_and_says_why_it_does_not_build(project: Project, tmp_path: Path) -> None:
    require("mount")
    project.script("s.py", ["alpha"], RUNS)
    project.script("fails.py", ["alpha"], "raise SystemExit(5)")
    project.script("new.py", ["beta"])
    project.call("build", "s.py")
    with mounted(tmp_path / "ro", "--bind", project.path) as folder:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        there = Project(folder, project.env)
        assert there.call("exec", "s.py").stdout == "ran\n"
        ran = there.call("run", "s.py")
        assert ran.stdout == "ran\n"
        assert "no journal: the pool is read-only; --resume will not know this run" in ran.stderr
        assert "no run in" in there.call("run", "--resume", status=2).stderr
        failed = there.call("run", "fails.py", status=1)
        assert "--run-id" not in failed.stderr
        assert "is read-only here" in there.call("run", "new.py", status=3).stderr
        assert there.call("which", "s.py").stdout
        assert there.call("list").stdout
        assert there.call("show", "s.py").stdout
        there.call("verify")
        there.call("build", "s.py")  # there is nothing to build
        told = there.call("build", "new.py", status=3)
        assert "is read-only here" in told.stderr and "hint:" in told.stderr
        replace(module(project.environments[0]), "VERSION = 'changed'\n")
        assert "is read-only here" in there.call("verify", "--repair", status=3).stderr
        assert there.call("prune", "--unused-for", "0s").stdout
        assert "Read-only file system" in there.call("prune", "--all", status=1).stdout
        told = there.call("stage", "s.py", "--to", str(tmp_path / "local"), status=1)
        assert "Read-only file system" in told.stderr and "hint: stage once where the pool can be written" in told.stderr


class Index(http.server.SimpleHTTPRequestHandler):
    """A package index that tells its readers to keep its answers for an hour, as public ones do for minutes."""

    def end_headers(self) -> None:
        """Adds the header."""
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


def test_upgrade_gets_versions_that_uvs_cache_does_not_know_yet(project: Project, tmp_path: Path) -> None:
    index = tmp_path / "index"
    make_wheel(index / "alpha", "alpha", "1.0")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: Index(*rest, directory=str(index)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        del project.env["UV_OFFLINE"], project.env["UV_FIND_LINKS"]
        project.env["UV_DEFAULT_INDEX"] = f"http://127.0.0.1:{server.server_port}/"
        project.env["UV_CACHE_DIR"] = str(tmp_path / "cache")
        project.script("s.py", ["alpha"], "import alpha, sys; sys.stdin.read(); print(alpha.VERSION)")
        project.call("build", "s.py")
        running = project.start("exec", "s.py", stdin=subprocess.PIPE)
        make_wheel(index / "alpha", "alpha", "1.1")
        project.call("build", "--upgrade", "s.py")
        assert project.call("exec", "s.py").stdout == "1.1\n"
        assert running.communicate(timeout=60)[0] == "1.0\n", "what runs stays on the old"
    finally:
        server.shutdown()
        server.server_close()


def test_upgrade_of_a_locked_script_says_what_to_do(project: Project) -> None:
    script = project.script("s.py", ["alpha<2"], RUNS)
    subprocess.run(["uv", "lock", "-q", "--script", str(script)], env=project.env, check=True)
    told = project.call("build", "--upgrade", "s.py", status=2)
    assert "a lock file pins them" in told.stderr
    assert "hint: uv lock --upgrade --script s.py" in told.stderr
    assert not project.environments


def test_rebuild_makes_a_new_generation_at_one_stroke(project: Project) -> None:
    project.script("s.py", ["alpha"], RUNS)
    project.call("build", "s.py")
    stop = threading.Event()
    failures: list[str] = []

    def start_over_and_over() -> None:
        while not stop.is_set():
            done = project.call("exec", "--no-build", "s.py", status=None)
            if done.stdout != "ran\n":
                failures.append(done.stderr)

    thread = threading.Thread(target=start_over_and_over)
    thread.start()
    project.call("build", "--rebuild", "s.py")
    project.call("build", "--rebuild", "s.py")
    stop.set()
    thread.join()
    assert not failures
    assert len(project.environments) == 3
    assert module(project.environments[0]).exists(), "what may be running stays"


@pytest.mark.parametrize("there", [False, True], ids=["no cache", "a cache of others"])
def test_a_home_that_cannot_hold_uvs_cache_is_told_as_what_it_is(project: Project, tmp_path: Path, there: bool) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {"HOME": str(home), "UV_CACHE_DIR": str(home / "cache")}
    project.script("s.py")
    if there:
        project.script("t.py", ["alpha"])
        project.call("build", "t.py", env=env)
    for folder in (home, *(home / "cache").glob("**")):
        folder.chmod(0o555)
    told = project.call("build", "s.py", status=3, env=env, prefix=UNPRIVILEGED).stderr
    for folder in (home, *(home / "cache").glob("**")):
        folder.chmod(0o755)
    assert "ermission denied" in told and "no Python here" not in told
    assert 'hint: export UV_CACHE_DIR="$(mktemp -d)"' in told


def test_a_disk_without_room_for_a_pool_is_told_with_the_way_to_see_it(project: Project, tmp_path: Path) -> None:
    project.script("s.py")
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", "nr_inodes=4", "none") as folder:
        told = project.call("--pool", str(folder / "pool"), "build", "s.py", status=3).stderr
    assert f"can't make a pool at {folder}/pool\n  cause: No space left on device\n\nhint: df -h -i {folder}\n" in told
