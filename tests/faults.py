"""Faults provoked for real: full disks, quotas, read-only mounts, several mounts of one folder, other hosts, failing calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def require(*programs: str, root: bool = True) -> None:
    """Skips a test that this machine can't run. In CI it must run: what it needs is in scripts/system-packages."""
    lacking = [program for program in programs if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if root and os.geteuid() != 0:
        lacking.append("root")
    if lacking:
        assert not os.environ.get("CI"), f"CI lacks {', '.join(lacking)}"
        pytest.skip(f"needs {', '.join(lacking)}")


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Polls until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def run(*argv: object) -> None:
    """Runs a program that must succeed."""
    done = subprocess.run([str(item) for item in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


def preloaded(folder: Path, code: str) -> dict[str, str]:
    """Builds a library of C in front of the system's; the variables with which a program takes it."""
    require("gcc", root=False)
    source, library = folder / "preloaded.c", folder / "preloaded.so"
    source.write_text(code)
    run("gcc", "-shared", "-fPIC", "-o", library, source, "-ldl")
    return {"LD_PRELOAD": str(library)}


def eight_bit_locale(folder: Path) -> dict[str, str]:
    """Makes a locale whose characters are bytes; the variables with which a program takes it."""
    require("localedef", root=False)
    done = subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / "en_US.ISO-8859-1")], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"can't make a locale: {done.stderr.strip()}")
    return {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"}


@contextmanager
def mounted(folder: Path, *options: object, unmount: tuple[str, ...] = ("umount", "-l")) -> Iterator[Path]:
    """`mount OPTIONS FOLDER` for the length of the body; skips where this machine doesn't let us mount."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *map(str, options), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"can't mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        run(*unmount, folder)


@contextmanager
def image(folder: Path, megabytes: int, *mkfs: str, options: str = "loop") -> Iterator[Path]:
    """A file system in a file, mounted on ``folder``; skips where this machine doesn't let us."""
    require(mkfs[0])
    file = folder.with_suffix(".img")
    with file.open("wb") as stream:
        stream.truncate(megabytes * 2**20)
    run(*mkfs, file)
    with mounted(folder, "-o", options, file):
        yield folder


@contextmanager
def bound(source: Path, folder: Path) -> Iterator[Path]:
    """Another mount of a folder, by bindfs: flock taken here isn't seen there, as on Lustre with localflock."""
    folder.mkdir(parents=True, exist_ok=True)
    run("bindfs", source, folder)
    try:
        yield folder
    finally:
        run("umount", "-l", folder)


def other_host(name: str, *argv: object) -> list[str]:
    """A command line that runs on "another host": another host name, another name space of processes."""
    script = 'hostname "$0" && exec "$@"'
    return ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c", script, name, *map(str, argv)]


def ignoring(number: int) -> list[str]:
    """The beginning of a command line whose program finds a signal ignored, as some daemons leave it to what they start."""
    code = "import os, signal, sys; signal.signal(int(sys.argv[1]), signal.SIG_IGN); os.execvp(sys.argv[2], sys.argv[2:])"
    return [sys.executable, "-c", code, str(int(number))]


def limited_to(processes: int) -> list[str]:
    """The beginning of a command line of a user who may have so many processes and threads, its own first one included.

    No such limit counts for root: it becomes a user that nobody else is, who may read and write everything.
    """
    require("setpriv", "prlimit")
    powers = "+dac_override,+dac_read_search"
    user = ["setpriv", f"--reuid={100_000 + os.getpid()}", "--clear-groups", f"--inh-caps={powers}", f"--ambient-caps={powers}"]
    return [*user, "prlimit", f"--nproc={processes}:{processes}"]


def as_user(user: int, group: int, *groups: int) -> list[str]:
    """The beginning of a command line that runs as a user of this number, with a first group and more of them."""
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return ["setpriv", f"--reuid={user}", f"--regid={group}", more]


def as_nobody(group: int = 65534) -> list[str]:
    """The beginning of a command line that runs as another user."""
    return ["setpriv", "--reuid=65534", f"--regid={group}", "--clear-groups"]
