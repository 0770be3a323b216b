"""doctor: each finding with the one line that mends it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_slurm import Submitting, on
from tests.conftest import UNPRIVILEGED, Project, opened
from tests.faults import bound, mounted, preloaded, require

__all__ = ["on"]


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


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """The address of who takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def without_packages() -> Iterator[str]:
    """The address of who answers, and has nothing of what is asked for."""
    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def index(project: Project, **variables: str) -> tuple[str, str, str | None]:
    """What doctor finds of the index: level, text, hint."""
    for name in ("UV_OFFLINE", "UV_FIND_LINKS"):
        project.env.pop(name, None)
    found = findings(project, env=variables)["index"]
    return found["level"], found["text"], found["hint"]


def test_an_index_that_answers_and_one_that_does_not(project: Project) -> None:
    found = findings(project)["index"]  # as the tests are
    assert (found["level"], found["text"]) == ("note", "not asked: UV_OFFLINE keeps uv from it")
    with without_packages() as address:
        assert index(project, UV_DEFAULT_INDEX=address + "/simple") == ("ok", "answers", None)
    gone = address.removeprefix("http://")
    level, text, hint = index(project, UV_DEFAULT_INDEX=address + "/simple")
    assert (level, text) == ("warning", f"no connection to {gone} (from UV_DEFAULT_INDEX): Connection refused")
    assert "a login node" in str(hint)
    level, text, hint = index(project, UV_DEFAULT_INDEX="http://index.invalid/simple", HTTP_PROXY=address)
    assert level == "warning" and text.startswith(f"no connection to index.invalid through the proxy {gone} (from HTTP_PROXY)")
    assert str(hint).startswith("unset HTTP_PROXY")
    (project.path / "uv.toml").write_text("offline = true\n")
    level, text, hint = index(project, UV_DEFAULT_INDEX=address + "/simple")
    assert level == "note" and "`offline` in a uv.toml" in text and hint == "export UV_OFFLINE=0  # where there is a network"


def test_who_never_answers_is_not_waited_for(project: Project) -> None:
    """By itself uv would wait for two minutes: 30 s, four times."""
    with silent() as address:
        level, text, _ = index(project, UV_DEFAULT_INDEX=address + "/simple")
    assert (level, text) == ("warning", f"no answer from {address.removeprefix('http://')} (from UV_DEFAULT_INDEX) within 5 s")


@pytest.mark.parametrize(
    ("sinfo", "level", "text"),
    [
        ("echo batch", "ok", "and the cluster answers"),
        ("echo 'sinfo: error: one' >&2; echo 'Unable to contact slurm controller' >&2; exit 1", "note", "but no cluster answers: Unable to contact"),
        ("exec sleep 600", "note", "but no cluster answers: no answer within 5 s"),
        (None, "note", "but no cluster answers: Slurm is not to be found here: no sinfo"),
    ],
)
def test_slurm_is_there_when_it_answers(project: Project, sinfo: str | None, level: str, text: str) -> None:
    tools = project.path / "tools"
    tools.mkdir()
    for name, body in (("sbatch", "exit 1"), ("sinfo", sinfo)):
        if body is not None:
            (tools / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")
            (tools / name).chmod(0o755)
    found = findings(project, env={"PATH": str(tools)})["Slurm"]
    assert found["level"] == level and f"sbatch at {tools}/sbatch, {text}" in found["text"]


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
def test_a_real_slurm_answers(on: Submitting) -> None:
    assert "and the cluster answers" in on.call("doctor").stdout
