"""Scripts that are edited between their plan and their run."""

from __future__ import annotations

import os

from sharedenv.run.case import Case

_SKEW = 10.0  # seconds by which a file server's clock may differ from ours, before its times are believed


def edited_digest(case: Case, since: float) -> str | None:
    """Digest of a case's script where it was changed ``since`` (seconds since the epoch) and is not what was planned, else None."""
    try:
        if os.stat(case.script).st_mtime < since - _SKEW:
            return None
        from sharedenv.key.plan import digest_of  # noqa: PLC0415 - a task on Slurm, which plans nothing, does without tomli

        digest = digest_of(case.script)
    except OSError:
        return None
    return None if digest == case.digest else digest
