"""Scripts that are edited between their plan and their run, or after it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from sharedenv.run.case import Case, Result

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


def edited_later(cases: Iterable[Case], results: Mapping[int, Result], planned: float) -> list[Case]:
    """Those that have succeeded with another text than their scripts have now. ``planned``: when, in seconds since the epoch.

    Each script is looked at once, and read where its file was changed since, moved or copied there too.
    """
    from sharedenv.key.plan import digest_of  # noqa: PLC0415 - as above

    now: dict[str, str | None] = {}  # what could not be read, or was not changed, is None
    found = []
    for case in cases:
        if (result := results.get(case.sequence)) is None or not result.succeeded:
            continue
        if case.script not in now:
            try:
                changed = os.stat(case.script).st_ctime >= planned - _SKEW
                now[case.script] = digest_of(case.script) if changed else None
            except OSError:  # gone, for one
                now[case.script] = None
        if now[case.script] not in (None, result.digest or case.digest):
            found.append(case)
    return found
