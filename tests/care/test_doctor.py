"""doctor: each finding with the one line that mends it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UNPRIVILEGED, Project, opened
from tests.faults import bound, mounted, preloaded, require


def findings(project: Project, *, status: int = 0, **options: Any) -> dict[str, dict[str, str]]:
    """Findings by subject; the last of each."""
    document = json.loads(project.call("doctor", "--json", status=status, **options).stdout)
    assert document["schema"] == 1 and document["errors"] == []
    return {finding["subject"]: finding for finding in document["findings"]}


def test_a_machine_in_order(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    found = findings(project)
    assert found["uv"]["level"] == found["locks"]["level"] == found["links"]["level"] == found["leases"]["level"] == found["trust"]["level"] == "ok"
    assert "linked into the pool" in found["uv's cache"]["text"]
    told = project.call("doctor")
    assert "0 problems" in told.stderr and "uv:" in told.stdout
    assert not list((project.pool / "tmp").iterdir())


def test_a_file_has_no_colours(project: Project) -> None:
    """From a terminal, where the last line is coloured."""
    terminal, theirs = os.openpty()
    try:
        for command in ("doctor", "status"):
            project.script("s.py", ["alpha"], "raise SystemExit(1)")
            project.call("run", "s.py", status=None)
            with (project.path / "report").open("w") as file:
                project.call(command, status=None, env={"TERM": "xterm"}, stdout=file, stderr=theirs)
            assert "\033" not in (project.path / "report").read_text() != ""
            assert "\033[" in project.call("--color=always", command, status=None).stdout
    finally:
        os.close(terminal)
        os.close(theirs)


def test_before_there_is_a_pool(project: Project) -> None:
    found = findings(project)
    assert found["pool"]["level"] == "note" and "sharedenv build" in found["pool"]["hint"]
    assert list(project.path.iterdir()) == []


def test_what_is_wrong_comes_with_its_remedy(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    (project.pool / "trash" / "left").mkdir()
    with opened(project.environments[0]):
        (project.environments[0] / "sharedenv.json").unlink()
    os.chmod(project.pool, 0o777)
    found = findings(project, status=1, env={"SHAREDENV_UV": "/nonexistent", "TMPDIR": "/nowhere"})
    assert found["uv"]["level"] == "problem"
    assert found["rubbish"]["hint"] == "sharedenv prune"
    assert found["trust"]["hint"].startswith("chmod -R go-w ")
    assert "its manifest is gone" in found["environment"]["text"]
    assert found["TMPDIR"]["level"] == "problem"
    told = project.call("doctor", status=1, env={"SHAREDENV_UV": "/nonexistent"})
    assert "hint: unset SHAREDENV_UV" in told.stdout


def test_what_can_not_be_read_is_a_finding(project: Project) -> None:
    project.script("s.py")
    project.call("build", "s.py")
    (project.pool / "envs").chmod(0)
    found = findings(project, status=1, prefix=UNPRIVILEGED)
    (project.pool / "envs").chmod(0o755)
    assert found["pool"]["level"] == "problem" and f"Permission denied: {project.pool}/envs" in found["pool"]["text"]
    assert found["pool"]["hint"] == f"ls -ld {project.pool}/envs" and "Slurm" in found


IGNORES_EXCL = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    if (strstr(path, "/.trial.")) flags &= ~O_EXCL;
    return ((int (*)(const char *, int, int)) dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
}"""


def test_a_file_system_that_creates_a_name_twice(project: Project, tmp_path: Path) -> None:
    project.script("s.py")
    project.call("build", "s.py")
    found = findings(project, status=1, env=preloaded(tmp_path, IGNORES_EXCL))["leases"]
    assert found["level"] == "problem" and "it does not (one name was created twice)" in found["text"] and found["hint"]
    assert not list((project.pool / "tmp").iterdir())


@pytest.mark.parametrize(
    ("subject", "fault"), [("leases", "utimensat:error=EPERM"), ("leases", "utimensat:retval=0"), ("links", "readlink,readlinkat:error=EPERM")]
)
def test_a_file_system_that_lacks_what_a_pool_leans_on(project: Project, subject: str, fault: str) -> None:
    require("strace", root=False)
    found = findings(project, status=1, prefix=["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}"])[subject]
    assert found["level"] == "problem" and "it does not (" in found["text"] and "on another file system" in found["hint"]


@pytest.mark.root
def test_another_file_system_than_uvs_cache_and_little_room(project: Project, tmp_path: Path) -> None:
    require("mount")
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=4m,nr_inodes=200", "none") as folder:
        found = findings(Project(folder, project.env))
        assert "can't be linked into the pool" in found["uv's cache"]["text"]
        assert found["uv's cache"]["hint"].startswith("export UV_CACHE_DIR=")
        assert found["space"]["level"] == found["inodes"]["level"] == "warning"


@pytest.mark.root
def test_a_file_system_whose_locks_other_nodes_do_not_see(project: Project, tmp_path: Path) -> None:
    require("bindfs")
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    with bound(project.path, tmp_path / "node2") as folder:
        found = findings(Project(folder, project.env))
        assert found["locks"]["level"] == "note" and "not seen by other nodes" in found["locks"]["text"]
        assert "other nodes may lack it" in found["interpreter"]["text"]
        assert found["joblog"]["level"] == "note" and "may tear" in found["joblog"]["text"]
