"""File systems that can't do what a pool needs: told before there is a pool, by name, with the way out; and by doctor."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.care.test_doctor import findings
from tests.conftest import UNPRIVILEGED, Project
from tests.faults import image, mounted, require
from tests.wheels import make_wheel


@contextmanager
def bindfs(folder: Path, *options: str) -> Iterator[Path]:
    """A file system whose answers bindfs changes."""
    require("bindfs")
    back = folder.with_suffix(".back")
    back.mkdir()
    folder.mkdir()
    subprocess.run(["bindfs", *options, back, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


#: what is mounted, and what is said of it
ODD: dict[str, tuple[Callable[[Path], AbstractContextManager[Path]], str]] = {
    "shows 777": (lambda at: bindfs(at, "-p", "a=rwX", "--chmod-ignore"), "modes: what is made with mode 755 shows 666"),
    "shows folders open alone": (lambda at: bindfs(at, "-p", "g+wD,o+wD", "--chmod-ignore"), "modes: what is made with mode 755 shows"),
    "takes no chmod": (lambda at: bindfs(at, "--chmod-deny"), "modes: chmod: Operation not permitted"),
    "gives all to another user": (lambda at: bindfs(at, "--force-user=nobody"), "modes: what you make there is not yours: it belongs to nobody"),
    "renames nothing": (lambda at: bindfs(at, "--rename-deny"), "folders: rename of a folder: Operation not permitted"),
    "follows no links": (lambda at: mounted(at, "-t", "tmpfs", "-o", "nosymfollow", "none"), "links: links are not followed"),
    "runs nothing": (lambda at: mounted(at, "-t", "tmpfs", "-o", "noexec", "none"), "programs: nothing can be executed from it (noexec)"),
    "vfat": (lambda at: image(at, 40, "mkfs.vfat"), "links: symlink: Operation not permitted"),
}


@pytest.mark.root
@pytest.mark.parametrize("kind", ODD)
def test_what_can_not_hold_a_pool_is_told_before_there_is_one(project: Project, tmp_path: Path, kind: str) -> None:
    mount, told = ODD[kind]
    with mount(tmp_path / "odd") as folder:
        there = Project(folder / "p", project.env)
        there.path.mkdir()
        there.copies(2, [], "print('ran')")
        before = sorted(there.path.iterdir())
        for _ in range(2):
            said = there.call("run", "case1/script.py", "case2/script.py", status=3).stderr
            assert said.startswith(f"error: no pool can be made at {there.pool}\n") and f"mounted at {folder}, can't do" in said
            assert told in said and "hint: take a folder on another file system: sharedenv --pool DIR/.sharedenv …" in said
        assert sorted(there.path.iterdir()) == before
        assert any(item["level"] == "problem" and told.partition(": ")[2] in item["text"] for item in findings(there, status=1).values())
        # the way out
        env = {"SHAREDENV_POOL": str(tmp_path / "elsewhere" / ".sharedenv")}
        assert there.call("run", "case1/script.py", "case2/script.py", env=env).stdout == "ran\nran\n"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("rename:error=EXDEV:when=3", "folders: rename of a folder: Invalid cross-device link"),
        ("symlink,symlinkat:error=EPERM", "links: symlink: Operation not permitted"),
        ("readlink,readlinkat:error=EINVAL", "links: readlink: Invalid argument"),  # sshfs -o follow_symlinks
        ("utimensat:error=EPERM", "leases: utime: Operation not permitted"),
    ],
)
def test_what_no_mount_here_answers(project: Project, fault: str, told: str) -> None:
    require("strace", root=False)
    project.script("s.py", [], "print('ran')")
    said = project.call("build", "s.py", status=3, prefix=["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}"]).stderr
    assert told in said and not project.pool.exists()


def test_what_a_pool_does_without_is_a_note(project: Project) -> None:
    require("strace", root=False)
    project.script("s.py", ["alpha"], "print('ran')")
    without = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=link,linkat:error=EPERM"]
    assert project.call("run", "s.py", prefix=without).stdout == "ran\n"
    found = findings(project, prefix=without)["names"]
    assert found["level"] == "note" and "it does not (link: Operation not permitted)" in found["text"]


def test_a_pool_is_tried_once_and_nothing_of_it_stays(project: Project, tmp_path: Path) -> None:
    require("strace", root=False)
    project.script("s.py", [], "print('ran')")
    project.script("o.py", ["alpha"], "print('ran')")
    log = tmp_path / "log"
    for script, tried in (("s.py", True), ("o.py", False)):
        project.call("build", script, prefix=["strace", "-f", "-o", str(log), "-e", "trace=mkdir"])
        assert (".trial." in log.read_text()) is tried
    assert not list(project.pool.glob(".trial.*"))


def test_a_pool_json_that_a_power_cut_has_emptied(project: Project) -> None:
    project.script("s.py", [], "print('ran')")
    project.call("build", "s.py")
    marker = project.pool / "pool.json"
    for data in (b"", b'{"form', b'[1]', b'{"format": 99}'):
        marker.write_bytes(data)
        found = findings(project, status=1)["pool"]
        assert found["level"] == "problem" and ("damaged" in found["text"] or "has format 99" in found["text"])
        assert "1 problem" in project.call("doctor", status=1).stderr
    marker.write_bytes(b"")
    project.shell(findings(project, status=1)["pool"]["hint"])
    assert project.call("run", "s.py").stdout == "ran\n"
    assert json.loads(marker.read_text())["format"] == 1


@pytest.mark.root
def test_a_pool_that_is_read_only_here_is_one_warning(project: Project, tmp_path: Path) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("build", "s.py")
    with mounted(tmp_path / "ro", "-o", "bind", project.path) as folder:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        there = Project(folder, project.env)
        found = json.loads(there.call("doctor", "--json").stdout)["findings"]
        warnings = [item for item in found if item["level"] == "warning"]
        assert [item["subject"] for item in warnings] == ["file system"] and "can't be written from here" in warnings[0]["text"]


def test_a_pool_that_is_not_ours_to_write_is_one_warning(project: Project) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("build", "s.py")
    project.pool.chmod(0o555)
    found = json.loads(project.call("doctor", "--json", prefix=UNPRIVILEGED).stdout)["findings"]
    assert [item["subject"] for item in found if item["level"] == "warning"] == ["file system"]


@pytest.mark.root
def test_the_place_for_uvs_cache_is_none_inside_the_pool(project: Project, tmp_path: Path) -> None:
    with mounted(tmp_path / "other", "-t", "tmpfs", "none") as folder:
        there = Project(folder / "p", project.env)
        there.script("s.py", [], "print('ran')")
        there.call("build", "s.py")
        hint = findings(there)["uv's cache"]["hint"]
        assert hint == f"export UV_CACHE_DIR={folder}/p/.uv-cache"
        assert "is linked into the pool" in findings(there, env={"UV_CACHE_DIR": hint.partition("=")[2]})["uv's cache"]["text"]


def test_a_cache_that_would_begin_where_the_pool_does(project: Project) -> None:
    """Neither is there yet: both are tried in the same folder."""
    found = findings(project, env={"UV_CACHE_DIR": str(project.path / "cache")})["uv's cache"]
    assert found["level"] == "ok" and not list(project.path.iterdir())


@pytest.mark.parametrize("error", ["ENOSPC", "EMLINK"])
def test_a_file_of_uvs_cache_that_takes_no_more_names_is_copied(project: Project, tmp_path: Path, error: str) -> None:
    """47 names on GlusterFS, and ENOSPC: the first links succeed, and uv gives up at a later one."""
    require("strace", root=False)
    make_wheel(tmp_path / "more", "many", "1.0", modules={f"many_{i}.py": f"x = {i}\n" for i in range(60)})
    env = {"UV_FIND_LINKS": str(tmp_path / "more")}
    project.script("s.py", ["many"], "import many_7; print('ran')")
    full = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=link,linkat:error={error}:when=4+"]
    for command in (["build", "s.py"], ["build", "--rebuild", "s.py"]):  # resolved, then what is held
        project.call(*command, env=env, prefix=full)
        (log,) = (project.pool / "logs").iterdir()
        assert "installing again, by copying" in log.read_text()
        newest = project.environments[-1]
        assert {file.stat().st_nlink for file in newest.glob("lib/*/site-packages/many_*.py")} == {1}
    assert project.call("exec", "s.py", env=env).stdout == "ran\n"


@pytest.mark.root
@pytest.mark.parametrize("options", [["-p", "a=rwX", "--chmod-ignore"], ["-p", "g+wD", "--chmod-deny"]], ids=["777", "775"])
def test_a_pool_that_has_come_to_where_all_is_open_is_not_told_to_chmod(project: Project, tmp_path: Path, options: list[str]) -> None:
    """A chmod of what others may write is the way out elsewhere, and can't help here."""
    with bindfs(tmp_path / "odd", *options) as folder:
        back = Project(tmp_path / "odd.back" / "p", project.env)
        back.path.mkdir()
        back.script("s.py", [], "print('ran')")
        back.call("build", "s.py")
        there = Project(folder / "p", project.env)
        told = there.call("run", "s.py", status=2).stderr
        assert "may write into the pool" in told and "chmod" in told.partition("hint:")[0] and "chmod" not in told.partition("hint:")[2]
        assert "another file system" in told.partition("hint:")[2]
        assert "another file system" in findings(there, status=1)["trust"]["hint"]
    back.pool.chmod(0o777)
    assert "hint: chmod -R go-w" in back.call("run", "s.py", status=2).stderr


SFTP = "/usr/lib/openssh/sftp-server"


@contextmanager
def sshfs(folder: Path, *options: str) -> Iterator[Path]:
    """A folder by sshfs, whose server is started directly."""
    require("sshfs")
    if not os.path.exists(SFTP):
        pytest.skip(f"needs {SFTP}")
    back, command = folder.with_suffix(".back"), folder.with_suffix(".sh")
    back.mkdir()
    folder.mkdir()
    command.write_text(f"#!/bin/sh\nexec {SFTP}\n")
    command.chmod(0o755)
    named = [word for option in (f"ssh_command={command}", *options) for word in ("-o", option)]
    subprocess.run(["sshfs", *named, f"host:{back}", folder], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.root
@pytest.mark.parametrize("options", [["contain_symlinks"], ["follow_symlinks"], ["no_contain_symlinks"]], ids=lambda words: words[0])
def test_sshfs_holds_a_pool_where_it_shows_links_as_they_are(project: Project, tmp_path: Path, options: list[str]) -> None:
    with sshfs(tmp_path / "far", *options) as folder:
        there = Project(folder / "p", project.env)
        there.script("s.py", [], "print('ran')")
        if options == ["no_contain_symlinks"]:
            assert there.call("run", "s.py").stdout == there.call("exec", "s.py").stdout == "ran\n"
            return
        told = there.call("run", "s.py", status=3).stderr
        assert "links: " in told and f"hint: sshfs -o no_contain_symlinks HOST:DIR {folder}, or take" in told
        assert not there.pool.exists() and findings(there, status=1)["links"]["level"] == "problem"
        assert [path.name for path in there.path.iterdir()] == ["s.py"]
