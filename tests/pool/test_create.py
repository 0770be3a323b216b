"""A pool comes into being while others start too; and what is replaced in one is read again, once."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.faults import require, wait_for

FILES = ("pool.json", "CACHEDIR.TAG", ".gitignore")


def injecting(fault: str, *paths: Path) -> list[str]:
    """In front of a command: a fault in the calls that name one of these paths."""
    require("strace", root=False)
    named = [word for path in paths for word in ("-P", str(path))]
    return ["strace", "-f", "-qq", "-o", "/dev/null", *named, "-e", f"inject={fault}"]


def inodes(project: Project) -> list[int]:
    """Which files the fixed files of the pool are."""
    return [(project.pool / name).stat().st_ino for name in FILES]


def test_sixteen_that_start_a_new_pool_at_once_find_one_and_the_same(project: Project) -> None:
    project.script("s.py", [], "print('ran')")
    seen: set[int] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if (project.pool / "pool.json").exists():
                seen.add((project.pool / "pool.json").stat().st_ino)
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        processes = [project.start("exec", "s.py") for _ in range(16)]
        said = [process.communicate(timeout=240) for process in processes]
    finally:
        over.set()
        watcher.join()
    assert [process.returncode for process in processes] == [0] * 16, said
    assert len(seen) == 1
    assert sum("made the pool" in stderr for _, stderr in said) == 1
    assert not [path for path in project.pool.iterdir() if path.name not in FILES and path.is_file()]


@pytest.mark.parametrize("answer", ["", "error=EPERM:"], ids=["there is one", "not permitted"])
def test_who_comes_late_with_a_pool_keeps_what_is_there(project: Project, answer: str) -> None:
    """sshfs says of a name that is taken that it is not permitted."""
    project.script("s.py", [], "print('ran')")
    marker = project.pool / "pool.json"
    late = project.start("build", "s.py", prefix=injecting(f"link,linkat:{answer}delay_enter=4000000", marker))
    wait_for(lambda: list(project.pool.glob(".pool.json.*")))
    told = project.call("build", "s.py").stderr
    assert "made the pool" in told and late.poll() is None
    before = inodes(project)
    _, said = late.communicate(timeout=120)
    assert late.returncode == 0 and "made the pool" not in said
    assert inodes(project) == before and not list(project.pool.glob(".pool.json.*"))


@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP", "EMLINK"])
def test_a_pool_where_files_have_one_name_only(project: Project, error: str) -> None:
    project.script("s.py", [], "print('ran')")
    paths = [project.pool / name for name in FILES]
    assert "made the pool" in project.call("build", "s.py", prefix=injecting(f"link,linkat:error={error}", *paths)).stderr
    assert json.loads((project.pool / "pool.json").read_text()) == {"format": 2}
    assert sorted(path.name for path in project.pool.iterdir() if path.is_file()) == sorted(FILES)
    assert project.call("exec", "s.py").stdout == "ran\n"


def test_a_pool_that_is_there_is_shared_without_another_pool_json(project: Project) -> None:
    project.script("s.py", [], "print('ran')")
    project.call("build", "s.py")
    marker = project.pool / "pool.json"
    marker.write_text('{"format": 1, "of a later version": true}')
    before = inodes(project)
    project.call("build", "--shared-group", "s.py")
    assert inodes(project) == before
    assert json.loads(marker.read_text()) == {"format": 2, "of a later version": True, "shared": "group"}
    assert marker.stat().st_mode & 0o022 == 0 and project.call("exec", "s.py").stdout == "ran\n"
    os.utime(marker, (0, 0))
    project.call("build", "--shared-group", "s.py")
    assert marker.stat().st_mtime == 0, "it is marked already"


def test_a_pool_of_another_format_is_not_marked(project: Project) -> None:
    project.script("s.py")
    project.call("build", "s.py")
    (project.pool / "pool.json").write_text('{"format": 99}')
    assert "has format 99" in project.call("build", "--shared-group", "s.py", status=2).stderr
    assert (project.pool / "pool.json").read_text() == '{"format": 99}'


#: what is replaced in a pool, and a command that reads it
READ = {
    "pool.json": ("pool.json", "openat", ["build", "s.py"]),
    "pool.json, when listed": ("pool.json", "openat", ["list"]),
    "pool.json, read while it is written": ("pool.json", "read", ["build", "s.py"]),
    "key": ("keys/*", "readlink,readlinkat", ["run", "--no-build", "s.py"]),
    "index": ("index/*", "readlink,readlinkat", ["exec", "--no-build", "s.py"]),
}


@pytest.mark.parametrize("error", ["ESTALE", "ENOENT"])
@pytest.mark.parametrize("what", READ)
def test_what_is_replaced_while_it_is_read_is_read_again(project: Project, what: str, error: str) -> None:
    project.script("s.py", [], "print('ran')")
    project.call("exec", "s.py")
    pattern, calls, command = READ[what]
    (path,) = project.pool.glob(pattern)
    fault = f"{calls}:retval=0:when=1" if calls == "read" else f"{calls}:error={error}:when=1"
    plain = project.call(*command)
    if pattern != "index/*":
        for entry in (project.pool / "index").iterdir():
            entry.unlink()
    told = project.call(*command, prefix=injecting(fault, path))
    assert told.stdout == plain.stdout and "building" not in told.stderr and "made the pool" not in told.stderr


@pytest.mark.parametrize("error", ["ESTALE", "ENOENT"])
@pytest.mark.parametrize("command", [["build", "s.py"], ["exec", "s.py"], ["list"]], ids=lambda words: words[0])
def test_the_mark_of_a_shared_pool_is_read_again(project: Project, command: list[str], error: str) -> None:
    project.script("s.py", [], "print('ran')")
    project.call("build", "--shared-group", "s.py")
    project.call(*command, prefix=injecting(f"openat:error={error}:when=1", project.pool / "pool.json"))


@pytest.mark.parametrize("error", ["ESTALE", "ENOENT"])
@pytest.mark.parametrize("calls", ["openat", "stat,newfstatat,statx"])
def test_the_failure_of_who_was_waited_for_is_read_again(project: Project, calls: str, error: str) -> None:
    project.script("s.py", ["alpha"])
    project.script("o.py")
    project.call("build", "o.py")
    uv, go = project.path / "uv", project.path / "go"
    uv.write_text(f'#!/bin/sh\nwhile [ ! -e "{go}" ]; do sleep 0.1; done\necho "the index burned down" >&2; exit 2\n')
    uv.chmod(0o755)
    key = project.call("key", "s.py").stdout.split()[0]
    builder = project.start("build", "s.py", env={"SHAREDENV_UV": str(uv)})
    wait_for(lambda: any((project.pool / "locks").iterdir()))
    said = project.path / "said"
    with said.open("w") as file:
        # the first look at its time is one before there is a failure
        when = "1" if calls == "openat" else "2"
        prefix = injecting(f"{calls}:error={error}:when={when}", project.pool / "failures" / key)
        waiting = project.start("build", "s.py", env={"SHAREDENV_UV": "/nonexistent"}, prefix=prefix, stderr=file)
    wait_for(lambda: "waiting for environment" in said.read_text())
    go.touch()
    builder.communicate(timeout=60)
    waiting.communicate(timeout=60)
    assert builder.returncode == waiting.returncode == 3 and "the index burned down" in said.read_text(), said.read_text()
