"""What the parts of scripts/bench have: sharedenv as a user has it, projects, and contenders that take turns."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench_report import ROOT

TIMEOUT = 400  #: seconds: no command of a part takes longer
HEAD = '# /// script\n# requires-python = ">=3.8"\n# dependencies = [{}]\n# ///\n'
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Used:
    """What a command took, all that it waited for included: wall time and CPU time in seconds, memory of the largest process in MB."""

    seconds: float
    cpu: float
    megabytes: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are and how much is to be measured. ``peers``: a Python beside HyperQueue and disBatch, or None."""

    folder: Path
    sharedenv: str
    uv: str
    env: Mapping[str, str]
    jobs: int
    quick: bool
    peers: str | None = None

    def often(self, full: int, quick: int) -> int:
        """A count of rounds or scripts."""
        return quick if self.quick else full

    def project(self, name: str, text: str | Sequence[str], count: int = 0) -> Path:
        """A folder of its own with case<n>/script.py, all the same or one for each text, and their list."""
        texts = [text] * count if isinstance(text, str) else text
        project = self.folder / name
        project.mkdir()
        for number, each in enumerate(texts, 1):
            os.mkdir(f"{project}/case{number}")
            with open(f"{project}/case{number}/script.py", "w", encoding="utf-8") as file:
                file.write(each)
        (project / "list").write_text("".join(f"case{number}/script.py\n" for number in range(1, len(texts) + 1)))
        return project

    def measure(self, argv: Sequence[str], cwd: Path, **more: str) -> Used:
        """Runs a command that has to succeed; `<list`, where it is the last word, is its standard input."""
        listed = argv[-1] == "<list"
        command = argv[:-1] if listed else argv
        with open(cwd / "list" if listed else os.devnull, "rb") as stdin, tempfile.TemporaryFile() as output:
            before = time.perf_counter()
            process = subprocess.Popen(command, cwd=cwd, env={**self.env, **more}, stdin=stdin, stdout=output, stderr=output)
            # an alarm: a timeout of `wait` would make it look for the end every few milliseconds only
            signal.signal(signal.SIGALRM, lambda *_: process.kill())
            signal.alarm(TIMEOUT)
            _, status, usage = os.wait4(process.pid, 0)
            taken = time.perf_counter() - before
            signal.alarm(0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                output.seek(max(0, output.tell() - 300))
                raise RuntimeError(f"{Path(argv[0]).name} {argv[1]}: exit {process.returncode}: {output.read().decode(errors='replace')}")
        return Used(taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)

    def seconds(self, argv: Sequence[str], cwd: Path, **more: str) -> float:
        """Wall time of a command that has to succeed."""
        return self.measure(argv, cwd, **more).seconds

    def contender(self, argv: Sequence[str], cwd: Path, factor: float = 1) -> Callable[[], float]:
        """Takes the time of a command, each time it is called; ``factor`` makes milliseconds of it, or a share."""
        return lambda: self.seconds(argv, cwd) * factor

    def calls(self, argv: Sequence[str], cwd: Path, **more: str) -> float:
        """File-system calls of a command and its children, the second time."""
        self.seconds(argv, cwd, **more)
        log = str(self.folder / "calls.log")
        self.seconds(["strace", "-f", "-o", log, "-e", "trace=%file,flock", *argv], cwd, **more)
        lines = Path(log).read_text(errors="replace").splitlines()
        return float(sum(1 for line in lines if re.match(r"\d+ +[a-z_0-9]+\(", line)))

    def answer(self, argv: Sequence[str], cwd: Path) -> str:
        """What a command prints."""
        return subprocess.run(argv, cwd=cwd, env=dict(self.env), capture_output=True, text=True, check=True).stdout.strip()

    def python(self, project: Path) -> str:
        """Builds what the first script of a project needs and returns the pool's Python for it."""
        self.seconds([self.sharedenv, "build", "case1/script.py"], project)
        return self.answer([self.sharedenv, "which", "case1/script.py"], project)


def rounds(count: int, contenders: Mapping[str, Callable[[], Found]], warm: bool = True) -> dict[str, list[Found]]:
    """Each contender once a round, in turn and back again; one round before the first does not count.

    Back again, since what comes after a heavy one finds another machine (clock rates, caches) than what comes before it.
    """
    found: dict[str, list[Found]] = {name: [] for name in contenders}
    for number in range(-1 if warm else 0, count):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            value = contenders[name]()
            if number >= 0:
                found[name].append(value)
    return found


def prepare(folder: Path, jobs: int, quick: bool, peers: str | None) -> Bench:
    """Installs sharedenv as a user does, into a plain environment."""
    leaking, index = ("VIRTUAL_ENV", "PYTHON", "SHAREDENV_", "UV_"), ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_FIND_LINKS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(leaking) or name.startswith(index)}
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    env["PATH"] = os.pathsep.join([str(base.parent), env.get("PATH", os.defpath)])  # no shim before a Python
    env["UV_CACHE_DIR"] = str(folder / "uv-cache")
    subprocess.run([base, "-m", "venv", folder / "tool"], env=env, check=True)
    tool = folder / "tool" / "bin"
    pip = [str(tool / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(ROOT)], env=env, check=True, timeout=TIMEOUT)
    return Bench(folder, str(tool / "sharedenv"), str(tool / "uv"), env, jobs, quick, peers)
