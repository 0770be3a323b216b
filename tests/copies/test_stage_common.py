"""Staging into folders that others use: their locks, what is left of older builds, disks that are no good for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sharedenv.pool import turn as turns
from sharedenv.pool.turn import turn
from sharedenv.start.staged import identity
from tests.conftest import Project
from tests.copies.test_stage import built, copies
from tests.faults import as_nobody, mounted, require, wait_for

HOLD = "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(fd, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"


@contextmanager
def held(lock: Path, *prefix: str) -> Iterator[None]:
    """Another process, begun by this command line, holds a lock for the length of the body."""
    with subprocess.Popen([*prefix, sys.executable, "-c", HOLD, lock.name], cwd=lock.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()


def common(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.mark.root
def test_a_lock_that_a_stranger_holds_keeps_nobody_waiting(project: Project, tmp_path: Path) -> None:
    """He knows its name beforehand. Ours he can't open at all."""
    require("setpriv")
    environment = built(project)
    local = common(tmp_path / "local")
    lock = local / f"{identity(str(environment))}.lock"
    lock.touch(0o666)
    os.chown(lock, 65534, 65534)
    with held(lock, *as_nobody()):
        began = time.monotonic()
        project.call("stage", "case1/script.py", "--to", str(local))
        assert time.monotonic() - began < turns.SILENCE
    assert len(copies(local)) == 1
    lock.unlink()
    copies(local)[0].rename(tmp_path / "away")
    project.call("stage", "case1/script.py", "--to", str(local))
    done = subprocess.run([*as_nobody(), sys.executable, "-c", HOLD, lock.name], cwd=local, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr


@pytest.mark.parametrize("kind", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_in_the_place_of_the_lock_is_passed_over(kind: object, project: Project, tmp_path: Path) -> None:
    environment = built(project)
    local = tmp_path / "local"
    local.mkdir()
    assert callable(kind)
    kind(str(local / f"{identity(str(environment))}.lock"))
    project.call("stage", "case1/script.py", "--to", str(local))
    assert len([path for path in copies(local) if not path.name.endswith(".lock")]) == 1


def test_one_of_us_that_was_stopped_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SILENCE", 0.3)
    lock = tmp_path / "lock"
    lock.touch()
    with held(lock):
        began = time.monotonic()
        with turn(str(lock), str(tmp_path), int):
            assert 0.2 < time.monotonic() - began < 30


def test_one_that_gets_on_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than the silence after which it would not be."""
    monkeypatch.setattr(turns, "SILENCE", 0.3)
    lock = tmp_path / "lock"
    order = []

    def first() -> None:
        with turn(str(lock), str(tmp_path), int):
            order.append("begun")
            time.sleep(1)
            order.append("done")

    thread = threading.Thread(target=first)
    thread.start()
    wait_for(lambda: order)
    with turn(str(lock), str(tmp_path), time.monotonic):
        order.append("second")
    thread.join()
    assert order == ["begun", "done", "second"]


def test_copies_of_replaced_environments_go(project: Project, tmp_path: Path) -> None:
    """With their locks, when the new one is staged; one that something runs from stays."""
    built(project)
    local = tmp_path / "local"
    project.call("stage", "case1/script.py", "--to", str(local))
    [first] = copies(local)
    project.call("build", "--rebuild", "case1/script.py")
    project.call("stage", "case1/script.py", "--to", str(local))
    [second] = copies(local)
    assert second != first
    assert [path.name for path in local.glob("*.lock")] == [f"{second.name}.lock"]
    (project.path / "case1/script.py").write_text((project.path / "case1/script.py").read_text() + "sys.stdout.flush(); sys.stdin.read()\n")
    process = project.start("exec", "case1/script.py", env={"SHAREDENV_STAGE": str(local)}, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline().startswith(str(second))
    project.call("build", "--rebuild", "case1/script.py")
    project.call("stage", "case1/script.py", "--to", str(local))
    assert second in copies(local)
    process.stdin.close()
    assert process.wait() == 0
    project.call("build", "--rebuild", "case1/script.py")
    project.call("stage", "case1/script.py", "--to", str(local))
    assert len(copies(local)) == 1


def test_copies_of_another_pool_stay(project: Project, tmp_path: Path) -> None:
    """Whose key and number may be the same; and of a pool that is not there now, since its disk may not be mounted."""
    built(project)
    local = tmp_path / "local"
    other = project.path / "other"
    for pool in (other, project.path):
        project.call("--pool", str(pool / ".sharedenv"), "build", "case1/script.py")
        project.call("--pool", str(pool / ".sharedenv"), "stage", "case1/script.py", "--to", str(local))
    assert len(copies(local)) == 2
    other.rename(project.path / "away")
    project.call("build", "--rebuild", "case1/script.py")
    project.call("stage", "case1/script.py", "--to", str(local))
    assert len(copies(local)) == 2


@pytest.mark.root
def test_a_disk_that_lets_nothing_run_is_said(project: Project, tmp_path: Path) -> None:
    """noexec: the copy would look whole, and its compiled modules could not be loaded."""
    require("mount")
    built(project)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "noexec", "tmpfs") as disk:
        done = project.call("stage", "case1/script.py", "--to", str(disk), status=1)
        assert "noexec" in done.stderr
        assert "or run from the pool" in done.stderr
        assert not list(disk.iterdir())
        assert project.call("exec", "case1/script.py", env={"SHAREDENV_STAGE": str(disk)}).stdout.startswith(str(project.environments[-1]))
