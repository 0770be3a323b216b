"""Two users with one common group, as real to the kernel as any: alice, who has a project, and bob."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import as_user, require

PYTHON = "/usr/bin/python3"  #: one that every user may run: this session's own may lie in a home
ALICE, BOB, LAB = 64101, 64102, 64100
WRITABLE = ("find", ".sharedenv", "!", "-type", "l", "-writable")  #: names what its user may write in the pool


class Lab:
    """alice's project, a folder that hands the group of the lab to what is made in it, and that the group may not write."""

    def __init__(self, world: Path, env: Mapping[str, str], wheels: Path) -> None:
        self.world = world
        self.project = world / "project"
        self.pool = self.project / ".sharedenv"
        self.env = {
            **env,
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join([env["PYTHONPATH"], sysconfig.get_path("purelib")]),
            "SHAREDENV_UV": shutil.which("uv", path=sysconfig.get_path("scripts")) or "uv",
            "UV_FIND_LINKS": str(world / "wheels"),
        }
        shutil.copytree(wheels, world / "wheels")
        for user in (ALICE, BOB):
            (world / str(user)).mkdir()
            os.chown(world / str(user), user, LAB)
        self.project.mkdir()
        os.chown(self.project, ALICE, LAB)
        self.project.chmod(0o2755)

    def home(self, user: int) -> Path:
        """A folder of a user's own, which the group may read."""
        return self.world / str(user)

    def run(self, user: int, *argv: str, umask: int = 0o002, status: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Any program as a user, in the project; asserts its exit status (None: any)."""
        home = self.home(user)
        done = subprocess.run(
            [*as_user(user, user, LAB), "sh", "-c", f'umask {umask:03o}; exec "$@"', "sh", *argv],
            cwd=self.project,
            env={**self.env, "HOME": str(home), "UV_CACHE_DIR": str(home / "cache"), "TMPDIR": "/tmp", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert status is None or done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def call(self, user: int, *words: str, umask: int = 0o002, status: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """`sharedenv WORDS` as a user."""
        return self.run(user, PYTHON, "-m", "sharedenv", *words, umask=umask, status=status, **env)

    def shell(self, user: int, line: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """A line as a user types it, `sharedenv` in it as well."""
        return self.run(user, "sh", "-c", f'sharedenv() {{ {PYTHON} -m sharedenv "$@"; }}; {line}', status=status)

    def script(self, name: str, dependency: str | None = "alpha", body: str = "print('ran')") -> None:
        """One of alice's scripts, which the group may read."""
        path = self.project / name
        path.parent.mkdir(exist_ok=True)
        dependencies = "" if dependency is None else f'"{dependency}"'
        path.write_text(f'# /// script\n# requires-python = ">=3.8"\n# dependencies = [{dependencies}]\n# ///\n{body}\n')
        path.chmod(0o644)
        for each in (path.parent, path):
            os.chown(each, ALICE, LAB)

    @property
    def environments(self) -> list[Path]:
        """The folders under envs/."""
        return sorted((self.pool / "envs").iterdir())

    @property
    def last_run(self) -> Path:
        """The folder of the newest run."""
        return max(path for path in (self.pool / "runs").iterdir() if path.name[0] != ".")


@contextmanager
def new_lab(env: Mapping[str, str], wheels: Path) -> Iterator[Lab]:
    """Skips where other users can't run what is tested. It has a folder that every user can enter: pytest's are closed."""
    require("setpriv", "python3", "find")
    world = Path(tempfile.mkdtemp(prefix="sharedenv-lab-"))
    world.chmod(0o755)
    try:
        lab = Lab(world, env, wheels)
        if (told := lab.call(BOB, "--version", status=None)).returncode != 0:
            pytest.skip(f"another user can't run sharedenv here: {told.stderr.splitlines()[-1:]}")
        yield lab
    finally:
        shutil.rmtree(world)


def hint_of(told: str) -> str:
    """The command of the one hint in a text; what doctor notes of the machine (an index, a Slurm without a cluster) is another matter."""
    lines = told.splitlines()
    noted = [line.lstrip().startswith("note ") for line in ["", *lines]]
    (hint,) = [line.partition("hint: ")[2] for line, after_note in zip(lines, noted, strict=False) if "hint: " in line and not after_note]
    return hint
