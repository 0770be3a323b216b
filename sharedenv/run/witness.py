"""Who tells scripts to end: a batch system that ends a job sends TERM to every process of it, and scripts are to get it once."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
from collections.abc import Mapping
from time import monotonic

from sharedenv.process import spawn

#: variables of jobs: of Slurm, PBS and Torque, LSF, Grid Engine, Flux
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "SGE_TASK_ID", "FLUX_JOB_ID")
_HESITATION = 1.0
_WAITS = ("/bin/sh", "-c", "read sharedenv_witness")


def hesitation(environ: Mapping[str, str]) -> float:
    """Seconds that a batch system may take to tell all processes of the job that these variables are of; 0 where they are of none."""
    return _HESITATION if any(name in environ for name in _JOBS) else 0.0


class Witness:
    """A process beside the scripts, in a group of its own as they are, which TERM ends: when it has, they have been sent TERM, too.

    A context. ``patience``: seconds between our TERM and that of the others (Slurm signals one process after the other); 0: no batch
    system is there, and there is no witness.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._pid = 0
        self._told = -math.inf  # when `heard` has heard it
        self._life = self._end = -1  # a pipe that it holds open, and one whose end ends it

    def heard(self, number: int) -> bool:
        """Whether this signal was TERM and went to the scripts, too; waits until it can tell."""
        if self._pid and number == signal.SIGTERM and self._ended(self._patience):
            self._told = monotonic()
            return True
        return False

    def is_news(self, number: int) -> bool:
        """Whether this signal is no further TERM just after that: Slurm may warn and end a job in one instant, which asks for no KILL."""
        return number != signal.SIGTERM or monotonic() - self._told >= self._patience

    def __enter__(self) -> Witness:
        if self._patience:
            with contextlib.suppress(OSError):  # no process or pipe to be had: then they may be told twice
                self._start()
        return self

    def _start(self) -> None:
        stdin, self._end = os.pipe()
        try:
            self._life, stdout = os.pipe()
            try:
                self._pid = spawn(_WAITS, env={}, stdin=stdin, stdout=stdout, stderr=stdout, inherited=())
            finally:
                os.close(stdout)
        finally:
            os.close(stdin)

    def __exit__(self, *_: object) -> None:
        if self._pid:
            if not self._ended(0):
                os.kill(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # whoever waits for orphans has waited for it
                os.waitpid(self._pid, 0)
            self._pid = 0
        for descriptor in (self._end, self._life):
            if descriptor >= 0:
                os.close(descriptor)

    def _ended(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._life, 0)  # for POLLHUP
        return bool(poll.poll(seconds * 1000))
