"""Leases of the dead are taken away by what holds on every file system, and those of the living stay."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.build.test_build_faults import BUILD, descendants, end, holder, kill_group, sound
from tests.conftest import Project
from tests.faults import other_host, require, wait_for

BODY = "import alpha; print('ran')"
#: as BUILD, with arguments, and a holder who says nothing counts as dead after 2 seconds
QUICK = BUILD.replace('main(["build", "s.py"])', "main(sys.argv[1:])").replace("4.0", "2.0").replace(
    "from sharedenv.cli", "import sharedenv.pool.undertaker as undertaker\nundertaker.STILLBORN = 2.0\nfrom sharedenv.cli", 1
)


def refusing(error: str) -> list[str]:
    """In front of a command: renameat2 fails so, as its flags do on NFS, GlusterFS and sshfs."""
    require("strace", root=False)
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", f"inject=renameat2:error={error}"]


def injecting(path: Path, fault: str) -> list[str]:
    """In front of a command: a fault in the calls that name this path."""
    require("strace", root=False)
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(path), "-e", f"inject={fault}"]


def lock_of(project: Project) -> Path:
    """Where the lease of s.py is."""
    return project.pool / "locks" / project.call("key", "s.py").stdout.split()[0]


def left_by_a_killed_build(project: Project, *arguments: str) -> Path:
    """The lease of a build of s.py that was killed in the middle."""
    project.script("s.py", ["alpha"], BODY)
    lock = lock_of(project)
    uv, hangs = project.path / "uv", project.path / "hangs"
    real = subprocess.run(["which", "uv"], env=project.env, capture_output=True, text=True, check=True).stdout.strip()
    uv.write_text(f'#!/bin/sh\ncase "$*" in *" sync "*) touch {shlex.quote(str(hangs))}; exec sleep 300;; *) exec {shlex.quote(real)} "$@";; esac\n')
    uv.chmod(0o755)
    process = project.start("build", *arguments, "s.py", env={"SHAREDENV_UV": str(uv)}, start_new_session=True)
    wait_for(hangs.exists)
    kill_group(process)
    hangs.unlink()
    assert "sharedenv=" in lock.read_text()
    return lock


def moved_to(lock: Path, host: str, machine: str, pid: int = 1) -> None:
    """Makes a lease that of a process on another machine."""
    text = re.sub(r"(?m)^host=.*", f"host={host}", re.sub(r"(?m)^pid=.*", f"pid={pid}", lock.read_text()))
    head, line = text.split("sharedenv=")
    lock.write_text(f"{head}sharedenv={json.dumps({**json.loads(line), 'host': host, 'machine': machine, 'pid': pid})}\n")


def quick(project: Project, *arguments: str, prefix: Sequence[str] = (), status: int = 0) -> str:
    """What `sharedenv ARGUMENTS` says on stderr, with a short patience."""
    argv = [*prefix, sys.executable, "-c", QUICK, *arguments]
    done = subprocess.run(argv, env=project.env, cwd=project.path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status, done.stderr
    return done.stderr


@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS", "EXDEV"])
def test_a_killed_build_is_not_waited_for_where_names_cannot_be_exchanged(project: Project, error: str) -> None:
    left_by_a_killed_build(project)
    told = project.call("build", "--lock-timeout", "15", "s.py", prefix=refusing(error)).stderr
    assert "built environment" in told and "waiting" not in told
    assert not any((project.pool / "locks").iterdir())
    sound(project)


def test_of_many_who_wait_for_one_dead_holder_one_builds(project: Project) -> None:
    left_by_a_killed_build(project)
    processes = [project.start("build", "s.py", prefix=refusing("EINVAL")) for _ in range(8)]
    told = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, told
    assert sum("built environment" in text for text in told) == 1 and len(project.environments) == 1
    assert not any((project.pool / "locks").iterdir())
    sound(project)


def test_a_dead_holder_on_another_host_is_given_up_and_the_hint_of_who_waited_too_shortly_leads_there(project: Project) -> None:
    lock = left_by_a_killed_build(project)
    moved_to(lock, "node7", "another")
    os.utime(lock, (0, 0))  # how old it is by some clock tells nothing
    told = quick(project, "build", "--lock-timeout", "0.5", "s.py", prefix=refusing("EINVAL"), status=3)
    assert "gave up waiting after 0.5 s: pid 1 on node7" in told
    assert re.search(r"cause: since \d\d:\d\d:\d\d; silent for \d s \(after 2 s it counts as dead\)\n", told)
    hint = re.search(r"hint: run the same command again, with (.*)\n", told)
    assert hint is not None and hint[1] == "--lock-timeout 4"
    told = quick(project, "build", *hint[1].split(), "s.py", prefix=refusing("EINVAL"))
    assert "waiting for environment" in told and "on node7 builds it since" in told and "built environment" in told
    sound(project)


@pytest.mark.root
@pytest.mark.parametrize("host", [os.uname().nodename, "node7"], ids=["the same host name", "another"])
def test_a_process_number_of_another_name_space_says_nothing(project: Project, host: str) -> None:
    """Two containers of one host name: that a number is free here doesn't mean that its process is dead there."""
    require("unshare")
    process = holder(project, other_host(host))
    try:
        lock = lock_of(project)
        moved_to(lock, host, json.loads(lock.read_text().split("sharedenv=")[1])["machine"], pid=2**22 + 1)  # no number here
        held = lock.read_text()
        told = project.call("build", "--lock-timeout", "2", "s.py", status=3).stderr
        assert f"on {host} is building the same environment" in told and lock.read_text() == held
    finally:
        end(process)


@contextlib.contextmanager
def heartbeat(lock: Path, beginning: float) -> Iterator[threading.Event]:
    """A holder whose clock shows this time: touches a lease twice a second until the event is set."""
    stop = threading.Event()

    def touch() -> None:
        for i in range(1000):
            os.utime(lock, (beginning + i / 2, beginning + i / 2))
            if stop.wait(0.5):
                return

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("skew", [-86400, 86400], ids=["behind", "ahead"])
def test_a_holder_whose_clock_is_wrong_lives_as_long_as_it_touches_its_lease(project: Project, skew: float) -> None:
    lock = left_by_a_killed_build(project)
    moved_to(lock, "node7", "another")
    with heartbeat(lock, time.time() + skew) as stop:
        quick(project, "build", "--lock-timeout", "4", "s.py", status=3)
        stop.set()
    assert "built environment" in quick(project, "build", "--lock-timeout", "60", "s.py")


def test_rebuild_repair_and_prune_go_past_a_dead_holder(project: Project) -> None:
    project.script("s.py", ["alpha"], BODY)
    project.call("build", "s.py")
    left_by_a_killed_build(project, "--rebuild")
    assert "built environment" in project.call("build", "--rebuild", "--lock-timeout", "15", "s.py", prefix=refusing("EINVAL")).stderr
    lock = left_by_a_killed_build(project, "--rebuild")
    doctor = json.loads(project.call("doctor", "--json").stdout)["findings"]
    assert any(item["subject"] == "rubbish" and item["hint"] == "sharedenv prune" for item in doctor)
    damaged = next(project.environments[1].glob("lib/python*/site-packages/alpha.py"))
    damaged.parent.chmod(0o755)
    damaged.unlink()
    assert "1 repaired" in project.call("verify", "--repair", prefix=refusing("EINVAL")).stderr
    assert not lock.exists()
    left_by_a_killed_build(project, "--rebuild")
    project.call("prune", "--unused-for", "0s", prefix=refusing("EINVAL"))
    assert project.environments == [] and not any((project.pool / "locks").iterdir())


def test_prune_leaves_the_key_of_a_holder_on_another_host_until_it_was_silent_for_an_hour(project: Project) -> None:
    project.script("s.py", ["alpha"], BODY)
    project.call("build", "s.py")
    lock = left_by_a_killed_build(project, "--rebuild")
    moved_to(lock, "node7", "another")
    told = project.call("prune", "--unused-for", "0s", prefix=refusing("EINVAL")).stdout
    assert "pid 1 on node7 is building this key" in told and lock.exists()
    then = time.time() - 3700
    os.utime(lock, (then, then))
    project.call("prune", "--unused-for", "0s", prefix=refusing("EINVAL"))
    assert project.environments == [] and not any((project.pool / "locks").iterdir())


def test_prune_clears_a_dead_lease_whose_key_has_no_environment(project: Project) -> None:
    lock = left_by_a_killed_build(project)
    told = project.call("-v", "prune", prefix=refusing("EINVAL")).stderr
    assert f"removed locks/{lock.name}: a lease whose holder died" in told
    assert not any((project.pool / "locks").iterdir())


def stopped(process: subprocess.Popen[str]) -> list[int]:
    """Processes below strace that it holds, as they are for half a second: each call holds one for an instant."""

    def look() -> set[int]:
        states = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in descendants(process.pid)}
        return {pid for pid, state in states.items() if state in "tT"}

    found = look()
    for _ in range(10):
        time.sleep(0.05)
        found &= look()
    return sorted(found)


@pytest.mark.parametrize("grave", ["is there", "is gone"])
def test_who_comes_late_to_a_burial_leaves_the_lease_of_who_was_faster(project: Project, grave: str) -> None:
    """Both saw the same dead holder; one was stopped right then, and the other builds when it goes on."""
    lock = left_by_a_killed_build(project)
    said = project.path / "said"
    with said.open("w") as file:
        prefix = injecting(lock, "read:signal=STOP:when=1")
        late = project.start("build", "--lock-timeout", "3", "s.py", prefix=prefix, stderr=file)
        wait_for(lambda: stopped(late))
        victims = stopped(late)
        faster = holder(project)
        held = lock.read_text()
        if grave == "is gone":
            next(lock.parent.glob("*.dead-*")).unlink()
        try:
            for pid in victims:
                os.kill(pid, signal.SIGCONT)
            late.communicate(timeout=60)
            assert late.returncode == 3 and f"pid {faster.pid} on" in said.read_text()
            assert lock.read_text() == held
        finally:
            end(faster)
    sound(project)


def test_who_finds_a_grave_leaves_the_lease_to_who_dug_it_unless_that_one_does_nothing(project: Project) -> None:
    lock = left_by_a_killed_build(project)
    held = lock.read_text()
    Path(f"{lock}.dead-{re.findall('token=(.*)', held)[0]}").touch()
    project.call("build", "--lock-timeout", "3", "s.py", status=3)
    assert lock.read_text() == held
    assert "built environment" in quick(project, "build", "--lock-timeout", "20", "s.py")


def test_who_is_killed_while_it_buries_holds_up_nobody_for_long(project: Project) -> None:
    lock = left_by_a_killed_build(project)
    project.call("build", "s.py", prefix=injecting(lock, "unlink,unlinkat:signal=KILL"), status=None)
    assert len(list(lock.parent.iterdir())) == 2, "the lease and its grave"
    assert "built environment" in quick(project, "build", "--lock-timeout", "20", "s.py")
    assert not any(lock.parent.iterdir())
    lock = left_by_a_killed_build(project, "--rebuild")
    project.call("build", "--rebuild", "s.py", prefix=injecting(lock, "unlink,unlinkat:signal=KILL"), status=None)
    project.call("prune")
    project.call("prune")
    assert not any(lock.parent.iterdir())
    sound(project)


def test_who_is_killed_before_it_has_signed_its_lease_is_given_up_after_a_silence(project: Project) -> None:
    project.script("s.py", ["alpha"], BODY)
    project.script("o.py", ["beta"])
    project.call("build", "o.py")
    lock = lock_of(project)
    quick(project, "build", "s.py", prefix=injecting(lock, "write:signal=KILL:when=2"), status=-9)
    assert "token=" in lock.read_text() and "sharedenv=" not in lock.read_text()
    assert "built environment" in quick(project, "build", "--lock-timeout", "20", "s.py", prefix=refusing("EINVAL"))


@pytest.mark.parametrize("error", ["ENOENT:when=1", "ESTALE:when=1", "ENOENT"])
def test_a_lease_that_cannot_be_seen_yet_is_not_free(project: Project, error: str) -> None:
    """NFS goes on for half a minute saying that there is none, and only who creates it is told."""
    process = holder(project)
    try:
        lock = lock_of(project)
        held = lock.read_text()
        # the first calls that name it are looks, those to create it are not touched: they have another flag
        code = "open:error=ENOENT" if error == "ENOENT" else f"openat:error={error}"
        told = project.call("build", "--lock-timeout", "2", "s.py", prefix=injecting(lock, code), status=3).stderr
        assert "gave up waiting" in told and lock.read_text() == held
    finally:
        end(process)


def test_a_lease_with_nothing_in_it_is_that_of_one_who_died_while_taking_it(project: Project) -> None:
    """As who waits for it has it; one of this moment may be written into at the next."""
    project.copies(1)
    project.call("build", "case1/script.py")
    old, new = project.pool / "locks" / "archive-old", project.pool / "locks" / "archive-new"
    for lock in (old, new):
        lock.touch()
    os.utime(old, (time.time() - 20, time.time() - 20))
    assert "removed locks/archive-old: a lease whose holder died" in project.call("-v", "prune").stderr
    assert new.exists() and not old.exists()
