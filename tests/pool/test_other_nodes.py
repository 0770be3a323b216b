"""What one node has made is seen on another, whose file system remembers for a while what it missed there (NFS)."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.faults import preloaded, require, wait_for

#: names in $MISSED (absolute paths, colons between them) are missing until the folder around one is opened, as on NFS
MISSES = r"""#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static char opened[1 << 16];
static int misses(const char *path) {
    const char *missed = getenv("MISSED");
    size_t length = strlen(path);
    for (const char *at = missed; at && *at; at += strcspn(at, ":"), at += *at == ':') {
        size_t here = strcspn(at, ":");
        if (here != length && !(here < length && path[here] == '/')) continue;
        if (strncmp(at, path, here)) continue;
        char folder[4096], *end;
        strncpy(folder + 1, at, here);
        folder[0] = ':'; folder[here + 1] = 0;
        end = strrchr(folder, '/');
        end[0] = ':'; end[1] = 0;
        if (!strstr(opened, folder)) return 1;
    }
    return 0;
}
#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))
int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    if (misses(path)) return errno = ENOENT, -1;
    if ((flags & O_DIRECTORY) && strlen(path) + strlen(opened) + 3 < sizeof opened) strcat(strcat(strcat(opened, ":"), path), ":");
    return NEXT(open64)(path, flags, mode);
}
int lstat64(const char *path, struct stat64 *found) { return misses(path) ? errno = ENOENT, -1 : NEXT(lstat64)(path, found); }
int stat64(const char *path, struct stat64 *found) { return misses(path) ? errno = ENOENT, -1 : NEXT(stat64)(path, found); }
int access(const char *path, int mode) { return misses(path) ? errno = ENOENT, -1 : NEXT(access)(path, mode); }
ssize_t readlink(const char *path, char *text, size_t size) {
    return misses(path) ? errno = ENOENT, -1 : NEXT(readlink)(path, text, size);
}
"""

#: what was missed before the other node has made it
MISSED = {
    "its key": ["keys/*", "index/*"],
    "its environment": ["envs/*", "index/*"],
    "all of them": ["keys/*", "index/*", "envs/*"],
    "the pool": ["."],
}
COMMANDS = {
    "exec": ["exec", "--no-build", "s.py"],
    "run": ["run", "--no-build", "s.py"],
    "check": ["build", "--check", "s.py"],
    "which": ["which", "s.py"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("missed", MISSED)
def test_what_was_missed_before_it_was_built_is_looked_for_again(project: Project, tmp_path: Path, missed: str, command: str) -> None:
    project.script("s.py", [], "print('ran')")
    project.call("exec", "s.py")
    names = ":".join(str(path) for pattern in MISSED[missed] for path in ([project.pool] if pattern == "." else project.pool.glob(pattern)))
    told = project.call(*COMMANDS[command], env={"MISSED": names, **preloaded(tmp_path, MISSES)})
    assert "not built" not in told.stderr and "no pool" not in told.stderr
    if command in ("exec", "run"):
        assert told.stdout == "ran\n"


def test_what_is_not_there_is_not_built_all_the_same(project: Project, tmp_path: Path) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    assert "is not built in the pool" in project.call("exec", "--no-build", "s.py", status=125, env=preloaded(tmp_path, MISSES)).stderr
    project.script("o.py", [], "print('ran')")
    project.call("build", "o.py")
    assert "is not built in the pool" in project.call("run", "--no-build", "s.py", status=3, env=preloaded(tmp_path, MISSES)).stderr


def test_two_runs_that_begin_in_one_second_see_each_other(project: Project) -> None:
    """The first has looked for others, and is not to be seen yet, when the second begins."""
    require("strace", root=False)
    project.copies(2, [], "import time; time.sleep(6)")
    project.call("build", "case1/script.py")
    slow = project.start("run", "-j2", "case1/script.py", "case2/script.py", prefix=[
        "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", "inject=rename:delay_enter=3000000:when=1"])  # fmt: skip
    wait_for(lambda: list((project.pool / "runs").glob(".new-*")))
    time.sleep(0.5)
    other = project.start("run", "-j2", "case1/script.py", "case2/script.py")
    said = [process.communicate(timeout=120)[1] for process in (slow, other)]
    seen = [bool(re.search(r"error: run \S+ works on 2 scripts of these\n  cause: process \d+ on ", text)) for text in said]
    assert seen == [True, False], said
    assert [slow.returncode, other.returncode] == [2, 0]
    assert len(list((project.pool / "runs").glob("2*"))) == 1  # nothing is left of the one that began nothing


def test_who_is_too_late_is_told_that_it_is_not_permitted(project: Project) -> None:
    """sshfs says EPERM as often as EEXIST: for the link of a key that another builder has made, and for a session's file."""
    require("strace", root=False)
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("build", "s.py")
    key = next((project.pool / "keys").iterdir())
    link = key.readlink()
    key.unlink()
    for entry in (project.pool / "index").iterdir():
        entry.unlink()
    late = project.start("build", "--rebuild", "s.py", prefix=["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(key), "-e",
                         "inject=symlink,symlinkat:error=EPERM:delay_enter=3000000"])  # fmt: skip
    wait_for(lambda: len(project.environments) == 2)
    key.symlink_to(link)
    _, said = late.communicate(timeout=120)
    assert late.returncode == 0, said
    assert project.call("exec", "s.py").stdout == "ran\n"
