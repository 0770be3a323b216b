"""Ways to start one script, and all that can be seen of what it does: the conformance suite compares them."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sharedenv.run.case import Case
from sharedenv.run.starter import Prepared, Starter

SCRIPTS = Path(__file__).parent / "conformance"


@dataclass(frozen=True)
class Sample:
    """A script of the suite with what its comments ask for."""

    name: str
    data: bytes
    arguments: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()


@dataclass
class Seen:
    """All that can be observed of one start."""

    stdout: bytes
    stderr: bytes
    status: int
    files: dict[str, bytes] = field(default_factory=dict)


def samples() -> list[Sample]:
    """The scripts of the suite."""
    found = []
    for path in sorted(SCRIPTS.glob("*.py")):
        data = path.read_bytes()
        text = data.decode("latin-1")
        arguments = re.findall(r"^# arguments: (.*)$", text, re.MULTILINE)
        variables = [each.partition("=")[::2] for each in re.findall(r"^# variables: (.*)$", text, re.MULTILINE)]
        files = re.findall(r"^# file (\S+): (.*)$", text, re.MULTILINE)
        words = tuple(shlex.split(arguments[0].encode("latin-1").decode())) if arguments else ()
        found.append(Sample(path.stem, data, words, tuple(variables), tuple(files)))
    return found


def pythons(*versions: str) -> dict[str, str]:
    """version → its interpreter, of those that stand beside the one of this test or on PATH."""
    found = {}
    for version in versions:
        beside = sorted(Path(sys.base_prefix).parent.glob(f"*{version}.*/bin/python{version}"))
        other = shutil.which(f"python{version}")
        if beside:
            found[version] = str(beside[-1])
        elif other and subprocess.run([other, "-c", ""], check=False).returncode == 0:
            found[version] = other
    return found


def version_of(python: str) -> tuple[int, ...]:
    """Its version, from the name of the interpreter."""
    return tuple(int(part) for part in python.rpartition("python")[2].split("."))


class Place:
    """Folders for the scripts, the same for each way, so that paths in what they print are the same."""

    def __init__(self, root: Path, block: str = "") -> None:
        self.root = root
        self.block = block

    def lay_out(self, which: Iterable[Sample]) -> None:
        """Makes each script's folder anew."""
        for sample in which:
            folder = self.root / sample.name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "script.py").write_bytes(sample.data + self.block.encode())
            for name, content in sample.files:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(content)

    def script(self, sample: Sample) -> str:
        """Its absolute path."""
        return str(self.root / sample.name / "script.py")

    def left_behind(self, sample: Sample) -> dict[str, bytes]:
        """The files in its folder afterwards."""
        folder = self.root / sample.name
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def run_with(starter: Starter, place: Place, which: list[Sample], python: str, env: dict[str, str]) -> dict[str, Seen]:
    """Starts every script, two at a time, through a starter of the batch."""
    cases = {}
    for number, sample in enumerate(which, 1):
        prepared = Prepared(python, {**env, **dict(sample.variables)})
        cases[number] = (sample, Case(number, place.script(sample), sample.arguments), prepared)

    def start(number: int, stdout: int, stderr: int) -> int:
        _, case, prepared = cases[number]
        os.chdir(case.folder)
        starter.warm(case.script, prepared)
        return starter.start(case, prepared, stdout, stderr)

    def reap(wait: bool) -> list[tuple[int, int]]:
        if wait:
            select.select(starter.descriptors(), [], [], 0.005)
        return [(ended.pid, os.waitstatus_to_exitcode(ended.status)) for ended in starter.reap()]

    return _drive(place, [sample for sample, _, _ in cases.values()], start, reap)


def run_bare(
    place: Place, which: list[Sample], argv: Callable[[Sample], list[str]], env: dict[str, str], *, piped: bool = False
) -> dict[str, Seen]:
    """Starts every script, two at a time, as a shell would: a new process group, no stdin; ``piped``: both outputs in one
    (`|& cat`).
    """
    processes: dict[int, subprocess.Popen[bytes]] = {}
    cats: dict[int, subprocess.Popen[bytes]] = {}

    def start(number: int, stdout: int, stderr: int) -> int:
        sample = which[number - 1]
        if piped:
            cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=stdout)
            assert cat.stdin is not None
            stdout = stderr = cat.stdin.fileno()
        process = subprocess.Popen(
            argv(sample),
            env={**env, **dict(sample.variables), "PWD": str(place.root / sample.name)},
            cwd=place.root / sample.name,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            process_group=0,
            close_fds=False,  # what a shell was given, it passes on
        )
        processes[process.pid] = process
        if piped:
            cats[process.pid] = cat
        return process.pid

    def reap(wait: bool) -> list[tuple[int, int]]:
        if wait:
            time.sleep(0.002)
        ended = [(pid, process.returncode) for pid, process in processes.items() if process.poll() is not None]
        for pid, _ in ended:
            del processes[pid]
            if piped:
                cats.pop(pid).communicate(timeout=100)
        return ended

    return _drive(place, which, start, reap)


def _drive(
    place: Place,
    which: list[Sample],
    start: Callable[[int, int, int], int],
    reap: Callable[[bool], list[tuple[int, int]]],
) -> dict[str, Seen]:
    place.lay_out(which)
    outputs = place.root / "outputs"
    outputs.mkdir(exist_ok=True)
    seen: dict[str, Seen] = {}
    running: dict[int, Sample] = {}
    left = list(enumerate(which, 1))
    home = os.getcwd()
    deadline = time.monotonic() + 200
    try:
        while left or running:
            assert time.monotonic() < deadline, f"still running: {[sample.name for sample in running.values()]}"
            while left and len(running) < 2:
                number, sample = left.pop(0)
                with open(outputs / f"{sample.name}.out", "wb") as out, open(outputs / f"{sample.name}.err", "wb") as err:
                    running[start(number, out.fileno(), err.fileno())] = sample
            for pid, status in reap(True):
                sample = running.pop(pid)
                seen[sample.name] = _observe(place, outputs, sample, status)
    finally:
        os.chdir(home)
    return seen


def _observe(place: Place, outputs: Path, sample: Sample, status: int) -> Seen:
    out, err = (without_addresses((outputs / f"{sample.name}.{kind}").read_bytes()) for kind in ("out", "err"))
    return Seen(out, err, status, place.left_behind(sample))


def without_addresses(text: bytes) -> bytes:
    """An output, without what differs from one process to the next."""
    return re.sub(rb"0x[0-9a-f]{6,}", b"0xADDRESS", text)
