"""A power cut: what the disk holds at any instant of a build and a run is looked at as it would be found after it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Project, opened
from tests.faults import image, mounted, require, run
from tests.wheels import make_wheel

INSTANTS = 20


class Camera:
    """Copies of a disk's image, one after the other, from entering to leaving; then ``files`` has them."""

    def __init__(self, disk: Path, folder: Path, pause: float) -> None:
        self._disk = disk
        self._folder = folder
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._take_all)
        self.files: list[Path] = []
        folder.mkdir()

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _take_all(self) -> None:
        while not self._over.wait(self._pause):
            self.take()

    def take(self) -> None:
        """What is on the disk at one instant: it was the same before and after it was read."""
        before = self._disk.read_bytes()
        while (after := self._disk.read_bytes()) != before:
            before = after
        file = self._folder / f"{len(self.files)}.img"
        with file.open("wb") as stream:
            for start in range(0, len(before), 1 << 16):
                if (piece := before[start : start + (1 << 16)]).strip(b"\0"):
                    stream.seek(start)
                    stream.write(piece)
            stream.truncate(len(before))
        self.files.append(file)


@contextmanager
def power_cuts(tmp_path: Path, project: Project) -> Iterator[Project]:
    """A project on an ext4 of its own, uv's cache beside it, whose names reach the disk each second."""
    require("mkfs.ext4", "mount")
    with image(tmp_path / "disk", 32, "mkfs.ext4", "-q", options="loop,commit=1") as disk:
        for number in range(3):
            make_wheel(tmp_path / "more", f"many{number}", "1.0", modules={f"many{number}_{i}.py": f"x = {i}\n" * 50 for i in range(40)})
        there = Project(disk / "project", {**project.env, "UV_CACHE_DIR": str(disk / "cache"), "UV_FIND_LINKS": str(tmp_path / "more")})
        there.path.mkdir()
        there.copies(2, ["many0", "many1", "many2"], "import many0_7, many1_8, many2_9; print('ran')")
        run("sync", "-f", disk)  # the user's own files are there
        try:
            yield there
        finally:
            there.end()


def looks_ready(found: Project) -> bool:
    """Whether a run starts in the project as it was found; asserts that all that is published there is as it was built."""
    if not (found.pool / "pool.json").exists():
        return False
    assert json.loads((found.pool / "pool.json").read_text())["format"] in (1, 2)
    sound = json.loads(found.call("verify", "--json", status=None).stdout)["environments"]
    assert all(item["sound"] for item in sound), sound
    done = found.call("run", "--no-build", "case1/script.py", "case2/script.py", status=None)
    assert done.returncode in (0, 3), done.stderr
    assert done.stdout == ("ran\nran\n" if done.returncode == 0 else "")
    return done.returncode == 0


@pytest.mark.root
@pytest.mark.slow
def test_a_power_cut_at_any_instant_leaves_no_environment_that_looks_ready_and_is_not(project: Project, tmp_path: Path) -> None:
    with power_cuts(tmp_path, project) as there:
        with Camera(tmp_path / "disk.img", tmp_path / "cuts", 0.05) as camera:
            there.call("build", "case1/script.py")
            built = len(camera.files)
            there.call("run", "case1/script.py", "case2/script.py")
            while len(camera.files) < max(built + 8, INSTANTS):
                time.sleep(0.05)
        cuts = camera.files
    ready = []
    for number in range(INSTANTS):  # evenly over all that were made
        with mounted(tmp_path / "after", "-o", "loop", cuts[number * (len(cuts) - 1) // (INSTANTS - 1)]) as disk:
            found = Project(disk / "project", {**there.env, "UV_CACHE_DIR": str(disk / "cache")})
            ready.append(looks_ready(found))
    assert ready[0] is False and ready[-1] is True, "cuts were made before and after"
    assert ready == sorted(ready), "what was ready stays so"


def backdate(project: Project) -> Path:
    """Makes the one environment of a pool older than this machine's last start; its path."""
    (environment,) = project.environments
    manifest = environment / "sharedenv.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "built": 1e9}, indent=1, sort_keys=True) + "\n")
    return environment


def put(path: Path, data: bytes) -> None:
    """Other content in a file of an environment, whose old content is uv's cache too."""
    with opened(path.parent):
        path.unlink()
        path.write_bytes(data)
        path.chmod(0o644)


@pytest.mark.parametrize("data", [b"", b"VERS", b"V" * 4096], ids=["empty", "cut", "filled up"])
def test_what_an_older_sharedenv_has_built_is_measured_after_a_new_start(project: Project, data: bytes) -> None:
    project.script("s.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    project.call("build", "s.py")
    (module,) = backdate(project).glob("lib/*/site-packages/alpha.py")
    assert project.call("build", "--check", "s.py").returncode == 0
    put(module, data)
    assert "alpha.py has another size than built" in project.call("build", "--check", "s.py", status=1).stderr
    told = project.call("run", "s.py")
    assert told.stdout == "2.0\n" and "the machine was cut off" in told.stderr


def test_bytecode_that_was_emptied_is_done_without(project: Project) -> None:
    project.script("s.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    project.call("build", "s.py")
    for file in backdate(project).glob("lib/*/site-packages/__pycache__/alpha*"):
        put(file, b"")
    assert "building" not in project.call("run", "s.py").stderr


def test_a_staged_copy_that_was_emptied_is_staged_anew(project: Project, tmp_path: Path) -> None:
    project.script("s.py", ["alpha", "tool"], "import alpha; print(alpha.VERSION)")
    project.call("build", "s.py")
    backdate(project)
    project.call("stage", "s.py", "--to", str(tmp_path / "node"))
    (module,) = (tmp_path / "node").glob("*/lib/*/site-packages/alpha.py")
    before = module.parents[3].stat().st_ino
    project.call("stage", "s.py", "--to", str(tmp_path / "node"))
    assert module.parents[3].stat().st_ino == before
    put(module, b"")
    project.call("stage", "s.py", "--to", str(tmp_path / "node"))
    assert module.read_text() == "VERSION = '2.0'\n"


def tracing(*injected: str) -> list[str]:
    """In front of a command: calls that a file system answers otherwise."""
    require("strace", root=False)
    return ["strace", "-f", "-qq", "-o", "/dev/null", *(word for fault in injected for word in ("-e", f"inject={fault}"))]


@pytest.mark.parametrize("error", ["EIO", "ENOSYS"])
def test_where_the_whole_is_refused_each_file_is_put_on_disk(project: Project, tmp_path: Path, error: str) -> None:
    require("strace", root=False)
    project.script("s.py", ["alpha"], "print('ran')")
    log = tmp_path / "log"
    project.call("build", "s.py", prefix=["strace", "-f", "-y", "-o", str(log), "-e", "trace=syncfs,fsync", "-e", f"inject=syncfs:error={error}"])
    assert "/site-packages/alpha.py>" in log.read_text() and "/sharedenv.json>" in log.read_text()
    assert project.call("exec", "s.py").stdout == "ran\n"


def test_a_file_system_that_can_not_tell_when_a_file_is_on_disk(project: Project) -> None:
    """Some FUSE file systems answer EINVAL."""
    project.script("s.py", ["alpha"], "print('ran')")
    refusing = tracing("syncfs,fsync:error=EINVAL")
    assert project.call("run", "s.py", prefix=refusing).stdout == "ran\n"
    assert "could not be written" not in project.call("run", "s.py", prefix=refusing).stderr
    found = json.loads(project.call("doctor", "--json", prefix=refusing).stdout)["findings"]
    assert [item["level"] for item in found if item["subject"] == "disk"] == ["note"]


@pytest.mark.parametrize("when", ["", ":when=3+"], ids=["its versions", "its files"])
def test_what_can_not_be_put_on_disk_is_not_published(project: Project, when: str) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.script("o.py", [])
    project.call("build", "o.py")
    told = project.call("build", "s.py", status=3, prefix=tracing("syncfs:error=EIO", f"fsync:error=EIO{when}")).stderr
    assert "Input/output error" in told and "df -h" not in told
    assert len(project.environments) == 1 and not list((project.pool / "tmp").iterdir())
