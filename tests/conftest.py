"""A project in a temporary folder, an index of small wheels, and the real `sharedenv` in a process of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import filelock
import hypothesis
import pytest

import sharedenv
from tests.slurm import Cluster, require_slurm, running_cluster
from tests.starter import Starter
from tests.wheels import make_index, make_wheel

for _signal in (signal.SIGINT, signal.SIGHUP):  # `scripts/test &` in a shell, `nohup scripts/test`: what is started would never hear them
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL if _signal is signal.SIGHUP else signal.default_int_handler)

# tests don't time: neither may a machine that is busy make an example too slow
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")

#: variables of this machine that would change what a test sees
_LEAKING = ("COVERAGE_", "UV_", "SHAREDENV_", "SLURM_", "PBS_", "LSB_", "SGE_", "PIP_", "VIRTUAL_ENV", "CONDA_", "PYTHON", "XDG_")


#: in front of a command: file modes count for it, for root too
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


class Project:
    """A folder with scripts, and `sharedenv` called in it as a user would."""

    starter: ClassVar[Starter | None] = None  #: forks what `call` starts; None: every start is a real one

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self.path = path
        self.env = dict(env)
        self._started: list[subprocess.Popen[str]] = []

    @property
    def pool(self) -> Path:
        """The folder `.sharedenv` of this project."""
        return self.path / ".sharedenv"

    @property
    def environments(self) -> list[Path]:
        """The folders under envs/."""
        return sorted((self.pool / "envs").iterdir()) if (self.pool / "envs").is_dir() else []

    @property
    def command(self) -> Path:
        """A folder for PATH that holds the command `sharedenv` of this checkout."""
        folder = self.path.parent / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "sharedenv").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sharedenv "$@"\n')
        (folder / "sharedenv").chmod(0o755)
        return folder

    def script(
        self,
        name: str,
        dependencies: Sequence[str] = (),
        body: str = "",
        *,
        requires_python: str | None = ">=3.8",
        extra: str = "",
    ) -> Path:
        """Writes a script with metadata; ``extra`` is more TOML for the block."""
        lines = ["# /// script"]
        if requires_python is not None:
            lines.append(f'# requires-python = "{requires_python}"')
        lines.append("# dependencies = [" + ", ".join(f'"{item}"' for item in dependencies) + "]")
        lines += [f"# {line}".rstrip() for line in extra.splitlines()]
        lines += ["# ///", body, ""]
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        return path

    def copies(self, count: int, dependencies: Sequence[str] = (), body: str = "", **options: Any) -> list[Path]:
        """case1/script.py … case<count>/script.py, all the same."""
        return [self.script(f"case{i}/script.py", dependencies, body, **options) for i in range(1, count + 1)]

    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = (), **options: Any
    ) -> subprocess.Popen[str]:
        """Starts `PREFIX sharedenv ARGUMENTS`."""
        process: subprocess.Popen[str] = subprocess.Popen(
            [*prefix, sys.executable, "-m", "sharedenv", *map(str, arguments)],
            **{
                "env": {**self.env, **(env or {})},
                "cwd": self.path,
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                **options,
            },
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """Nothing that a test started and left outlives it, nor do its pipes."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                pipe.close()
            process.wait()

    def call(
        self, *arguments: str, env: Mapping[str, str] | None = None, status: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs `sharedenv ARGUMENTS` to its end and asserts its exit status (None: any)."""
        words, variables, cwd = list(map(str, arguments)), {**self.env, **(env or {})}, options.get("cwd", self.path)
        if self.starter and options.keys() <= {"cwd"} and self.starter.takes(words, variables, cwd):
            returned, stdout, stderr = self.starter.call(words, variables, cwd, 240)
        else:
            process = self.start(*arguments, env=env, **options)
            stdout, stderr = process.communicate(timeout=240)
            returned = process.returncode
        if status is not None:
            assert returned == status, f"exit {returned}\n{stdout}\n{stderr}"
        return subprocess.CompletedProcess(arguments, returned, stdout, stderr)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This process as one of the project: its variables and its folder. For calls of the Python API."""
        before = os.getcwd()
        with mock.patch.dict(os.environ, self.env, clear=True):
            os.environ.pop("PWD", None)
            os.chdir(self.path)
            try:
                yield
            finally:
                os.chdir(before)

    def build(self, *scripts: str, **options: Any) -> list[sharedenv.Environment]:
        """Builds what these scripts need, in this process: for tests of what comes after."""
        with self.inside():
            return sharedenv.build(scripts, **options)

    def shell(self, command: str, env: Mapping[str, str] | None = None) -> str:
        """What a line typed into bash prints, stdout and stderr as they come. Asserts that it ends with 0."""
        done = subprocess.run(
            ["bash", "-c", command],
            env={**self.env, **(env or {})},
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this test session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def wheels(shared_folder: Path) -> Path:
    """The folder of wheels for `--find-links`, built once for all workers."""
    folder = shared_folder / "wheels"
    with filelock.FileLock(shared_folder / "wheels.lock"):
        if not folder.exists():
            make_index(shared_folder / "wheels.new").rename(folder)
    return folder


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """The TMPDIR of all that is started: who is killed leaves folders there. It goes when the tests have ended."""
    folder = Path(tempfile.mkdtemp(prefix="sharedenv-tests-"))
    folder.chmod(0o1777)  # some tests start other users' processes
    yield folder
    make_removable(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def clean_env(shared_folder: Path, scratch: Path) -> Iterator[dict[str, str]]:
    """The environment of a user on a quiet machine: own HOME, own uv cache, one real Python on PATH, nothing else."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_LEAKING)}
    home = shared_folder / "home"
    home.mkdir(exist_ok=True)
    python = Path(sys.base_prefix, "bin")
    env.update(
        HOME=str(home),
        TMPDIR=str(scratch),
        UV_CACHE_DIR=str(shared_folder / "uv-cache"),
        UV_PYTHON_DOWNLOADS="never",
        UV_CONCURRENT_INSTALLS="1",  # else uv starts a Python for each core, for the bytecode of a single file
        PATH=os.pathsep.join([sysconfig.get_path("scripts"), str(python), "/usr/bin", "/bin", "/usr/sbin", "/sbin"]),
        PYTHONPATH=str(Path(__file__).parent.parent),  # so that `python -m sharedenv` is this checkout's
        LC_ALL="C.UTF-8",
    )
    if hasattr(os, "pidfd_open") and not os.environ.get("TEST_REAL_STARTS"):
        Project.starter = Starter(env)
    yield env
    if Project.starter:
        Project.starter.end()


@pytest.fixture
def offline_env(clean_env: dict[str, str], wheels: Path) -> dict[str, str]:
    """clean_env, with the suite's wheels and no network."""
    # uv reads all certificates of that folder at each of its starts, 4 ms of its CPU time; the file has the same
    spared = {"SSL_CERT_DIR"} if "SSL_CERT_FILE" in clean_env else set()
    env = {name: value for name, value in clean_env.items() if name not in spared}
    return {**env, "UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels)}


@pytest.fixture
def project(tmp_path: Path, offline_env: dict[str, str]) -> Iterator[Project]:
    """An empty project whose environments come from the suite's wheels."""
    # a folder deeper than other tests' folders, or those would look like cases of one project
    folder = tmp_path / "w" / "project"
    folder.mkdir(parents=True)
    project = Project(folder, offline_env)
    yield project
    project.end()
    make_removable(folder)


@pytest.fixture
def four(project: Project) -> Project:
    """A project whose index has the four packages of the README's script, in a small way; `sharedenv` is on its PATH."""
    folder = project.path.parent / "four"
    for name in ("scipy", "numpy", "matplotlib", "pandas"):
        make_wheel(folder, name, "1.0")
    project.env["UV_FIND_LINKS"] = str(folder)
    project.env["PATH"] = f"{project.command}:{project.env['PATH']}"
    return project


@contextmanager
def opened(environment: Path) -> Iterator[None]:
    """Lets a test edit an environment as root could, or a purge: its folders, which are read-only, are its owner's to write in the body."""
    modes = {folder: os.stat(folder).st_mode for folder, _, _ in os.walk(environment)}
    for folder, mode in modes.items():
        os.chmod(folder, mode | 0o200)
    yield
    for folder, mode in modes.items():
        with suppress(FileNotFoundError):
            os.chmod(folder, mode)


def make_removable(folder: Path) -> None:
    """Lets what pools have made read-only be deleted by who made it."""
    # pytest deletes old temporary folders, which a plain user can't do while the folders of environments are read-only
    for name, _, _ in os.walk(folder):
        if not os.access(name, os.W_OK):
            os.chmod(name, 0o755)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Slurm of 2 nodes with 4 CPUs each, one for each worker of the suite. Skips without Slurm, but not in CI."""
    require_slurm()
    with running_cluster(nodes=2, cpus=4) as cluster:
        yield cluster
