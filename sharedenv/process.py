"""The only module that starts processes (exec and the fork server's children aside)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """How a helper process ended: exit status (negative: the signal that killed it), its output."""

    status: int
    stdout: str
    stderr: str


def capture(argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None = None) -> Finished:
    """Runs a program to its end with no stdin. Raises OSError when it can't be started."""
    done = subprocess.run(
        argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)
