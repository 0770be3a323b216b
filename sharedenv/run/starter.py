"""The ways to start a case. One loop (batch.py) drives them all."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Protocol

from sharedenv.process import spawn
from sharedenv.run.case import Case
from sharedenv.run.groups import Marks
from sharedenv.run.place import ATTEMPT, NOWHERE, NUMBER, Place, bound_to
from sharedenv.values import frozen

LAUNCH = "SHAREDENV_CASE_LAUNCH"  #: with a launcher: what no other worker's cases have
FORK_SERVER = "sharedenv-fork-server"  #: the name under which preload/starter.py starts its servers, and their forks are seen


@frozen
class Prepared:
    """An environment ready to run cases.

    python     path of its interpreter
    variables  the environment of its cases' processes, but for PWD: that is each case's folder
    leases     descriptors that hold it against prune; each case's process inherits them
    name       `<key12>-<n>`
    versions   digest of the set of versions in it
    launcher   words that stand before the interpreter; of a row, `{column}` is filled in
    launch     stands for this worker in the variables of what a launcher starts: two pools may have runs of one name
    """

    python: str
    variables: Mapping[str, str]
    leases: tuple[int, ...] = ()
    name: str = ""
    versions: str = ""
    launcher: tuple[str, ...] = ()
    launch: str = field(default_factory=lambda: os.urandom(8).hex(), compare=False)

    @property
    def unstarted(self) -> str:
        """What to say of a case that can't be started."""
        return f"its launcher {self.launcher[0]} can't be started" if self.launcher else "its Python can't be started"

    def marks(self, case: Case, attempt: int) -> Marks:
        """The variables by which what a launcher has started for an attempt is known, wherever it stands; none without a launcher."""
        told = {LAUNCH: self.launch, NUMBER: str(case.sequence), ATTEMPT: str(attempt)}
        return tuple([os.fsencode(f"{name}={value}") for name, value in told.items()]) if self.launcher else ()

    def argv(self, case: Case) -> tuple[str, ...]:
        """The command of a case."""
        return (*[case.fill(word) for word in self.launcher], self.python, case.script, *case.arguments)


@frozen
class ProcessEnd:
    """One process that ended: ``status`` as waitpid gives it, CPU seconds, peak resident bytes (None: not known)."""

    pid: int
    status: int
    cpu: float
    memory: int | None


class Starter(Protocol):
    """One way to start cases. Each process leads a process group of its own, has no stdin, and starts in the current
    folder.
    """

    warms: bool  #: whether `warm` does anything, and may take its time

    def start(self, case: Case, prepared: Prepared, stdout: int, stderr: int, place: Place = NOWHERE) -> int:
        """Starts a case in a place and returns its process number. Raises OSError; BlockingIOError when a later try may do."""

    def warm(self, script: str, prepared: Prepared) -> None:
        """Makes ready for scripts like this one, before the environment is delivered. From any thread."""

    def reap(self) -> Iterator[ProcessEnd]:
        """Those that ended since the last call; never waits."""

    def insist(self, pid: int) -> None:
        """A case was killed: `reap` is to tell its end, whoever stands between."""

    def descriptors(self) -> tuple[int, ...]:
        """What becomes readable when `reap` has something to tell; children of this process tell by SIGCHLD."""

    def close(self) -> None:
        """Ends what the starter itself keeps alive."""


class PlainStarter:
    """The environment's Python, started anew for each case."""

    warms = False

    def __init__(self) -> None:
        self.running: dict[int, None] = {}  #: process numbers
        self._launchers: dict[tuple[str, str], str | None] = {}  #: name and PATH → where it is
        self._stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._own_peak = 0
        self._unit = 1 if os.uname().sysname == "Darwin" else 1024  # ru_maxrss: bytes there, kilobytes elsewhere

    def start(self, case: Case, prepared: Prepared, stdout: int, stderr: int, place: Place = NOWHERE) -> int:
        """Starts `LAUNCHER… python SCRIPT ARGUMENT…`."""
        variables = {os.fsencode(name): os.fsencode(value) for name, value in prepared.variables.items()}
        if prepared.launcher:
            variables[os.fsencode(LAUNCH)] = os.fsencode(prepared.launch)
        variables[b"PWD"] = os.fsencode(case.folder)  # as `cd` sets it: chdir leaves that of the command
        variables.update(place.variables)
        argv = prepared.argv(case)
        if prepared.launcher:
            argv = (self._found(argv[0], prepared.variables.get("PATH", os.defpath)), *argv[1:])
        inherited = (*prepared.leases, *place.descriptors)
        with bound_to(place.cpus):
            pid = spawn(argv, env=variables, stdin=self._stdin, stdout=stdout, stderr=stderr, inherited=inherited)
        self.running[pid] = None
        return pid

    def _found(self, program: str, path: str) -> str:
        """Where a launcher is, by the PATH of its case. Raises OSError."""
        if (program, path) not in self._launchers:
            from shutil import which  # noqa: PLC0415 - most cases have no launcher

            self._launchers[program, path] = which(program, path=path)
        if (found := self._launchers[program, path]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
        return found

    def warm(self, script: str, prepared: Prepared) -> None:
        """Nothing to do."""

    def reap(self) -> Iterator[ProcessEnd]:
        """Looks who has ended, and waits for those that are ours: others are of other threads (uv at a build)."""
        while self.running and (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid not in self.running:
                yield from self._reap_each()  # a stranger stands before them, and stays until its own thread comes
                return
            yield self._wait_for(ended.si_pid)

    def _reap_each(self) -> Iterator[ProcessEnd]:
        for pid in tuple(self.running):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                yield self._wait_for(pid)

    def _wait_for(self, pid: int) -> ProcessEnd:
        _, status, usage = os.wait4(pid, 0)
        del self.running[pid]
        return ProcessEnd(pid, status, usage.ru_utime + usage.ru_stime, self._memory(usage.ru_maxrss))

    def _memory(self, peak: int) -> int | None:
        # Linux starts a child's peak at its parent's: what does not exceed ours says nothing of the child
        if peak > self._own_peak:
            self._own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * self._unit if peak > self._own_peak else None

    def insist(self, pid: int) -> None:
        """Nobody stands between."""

    def descriptors(self) -> tuple[int, ...]:
        """None: the kernel sends SIGCHLD."""
        return ()

    def close(self) -> None:
        """Nothing lives on."""
        os.close(self._stdin)


#: no process, descriptor or memory to be had now: wait for one that runs to end
_CROWDED = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
#: what says how much of it is to be had
_LIMITS = {errno.EAGAIN: "ulimit -u", errno.EMFILE: "ulimit -n"}


def is_crowded(error: OSError) -> bool:
    """Whether it may be had once something that runs has ended."""
    return error.errno in _CROWDED


def refusal(error: OSError) -> str:
    """Why, in words, with the command that tells the limit."""
    limit = f" (see {_LIMITS[error.errno]})" if error.errno in _LIMITS else ""
    return f"{error.strerror}{limit}"
