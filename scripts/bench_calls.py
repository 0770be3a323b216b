"""What scripts/bench measures of calls on the file system: of a case, of a claim, and how long a start takes at a millisecond each."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_report import Row

LOOKS = "%file,flock,fsync,fdatasync,getdents64"
SLOW = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=%file", "-e", "inject=%file:delay_exit=1000")


@dataclass(frozen=True, slots=True)
class Calls:
    """A project with case1/script.py … and a built environment, that prints a line each; `sharedenv` is the command."""

    sharedenv: str
    project: Path
    env: Mapping[str, str]

    def counted(self, *words: str) -> int:
        """Calls of a command's own process, looks at open files left out."""
        log = self.project / "calls.log"
        argv = ["strace", "-qq", "-o", str(log), "-e", f"trace={LOOKS}", "-e", "signal=none", self.sharedenv, *words]
        subprocess.run(argv, cwd=self.project, env=dict(self.env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return sum("AT_EMPTY_PATH" not in line for line in log.read_text(errors="replace").splitlines())

    def a_case(self, few: int, many: int) -> float:
        """Calls of `run` for each case more."""
        scripts = [f"case{number}/script.py" for number in range(1, many + 1)]
        return (self.counted("-q", "run", "-j1", *scripts) - self.counted("-q", "run", "-j1", *scripts[:few])) / (many - few)

    def a_claim(self, few: int, many: int) -> float:
        """Calls of `join` for each case more, claims and begins included."""
        found = []
        for count in (few, many):
            scripts = [f"case{number}/script.py" for number in range(1, count + 1)]
            argv = [self.sharedenv, "-q", "plan", *scripts]
            run = subprocess.run(argv, cwd=self.project, env=dict(self.env), capture_output=True, text=True, check=True).stdout.strip()
            found.append(self.counted("-q", "join", run, "-j1"))
        return (found[1] - found[0]) / (many - few)

    def first_line(self, argv: Sequence[str]) -> float:
        """Seconds until a command writes something; it is ended then."""
        began = time.perf_counter()
        process = subprocess.Popen(
            [*SLOW, *argv], cwd=self.project, env=dict(self.env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert process.stdout is not None
        with process.stdout:
            found = process.stdout.readline()
            taken = time.perf_counter() - began
            os.killpg(process.pid, 9)
        process.wait()
        if not re.match(rb"hello|going on", found):
            raise RuntimeError(found.decode(errors="replace"))
        return taken


def slow_rows(calls: Calls, count: int) -> Iterable[Row]:
    """The rows; the project has ``count`` cases."""
    yield Row("calls of a case in a batch, beyond its Python's", [calls.a_case(10, 60)], limit=10, unit="calls")
    yield Row("calls of a case of a list that is joined, claims included", [calls.a_claim(10, 60)], unit="calls")
    run = [calls.sharedenv, "-q", "run", "-j2"]
    yield Row(f"`run` of {count:,}, 1 ms a call, until the first case starts", [calls.first_line([*run, "case*/script.py"])])
    subprocess.run([*run, "case*/script.py"], cwd=calls.project, env=dict(calls.env), stdout=subprocess.DEVNULL, check=True)
    resumed = [calls.sharedenv, "run", "--resume"]
    yield Row(f"`--resume` of {count:,} that are done, 1 ms a call", [calls.first_line(resumed)])
