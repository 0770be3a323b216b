"""What the pictures of a report are drawn from: columns of numbers, compressed, as text that holds no character HTML knows. Pure."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from sharedenv.run.case import Case, Result
from sharedenv.run.measures import Measures, end_of

SUCCEEDED, FAILED, INTERRUPTED = range(3)  #: how an attempt ended, as page.js knows it


def encode(measured: Measures, name: Callable[[Case], str]) -> str:
    """The columns of one run: JSON, deflated (zlib), in base64. About 20 bytes an attempt. ``name``: of a case, for people."""
    text = json.dumps(_columns(measured, name), separators=(",", ":"), ensure_ascii=True)
    return b64encode(zlib.compress(text.encode("ascii"))).decode("ascii")


def _columns(measured: Measures, name: Callable[[Case], str]) -> dict[str, Any]:
    """Times are milliseconds, those at which something began since the first attempt; memory is kB, 0 where it isn't known."""
    hosts = sorted({attempt.host for attempt in measured.attempts})
    placed = sorted(
        zip(measured.attempts, measured.lanes, strict=True), key=lambda pair: (pair[0].host, pair[1], pair[0].start)
    )
    attempts, lanes = [attempt for attempt, _ in placed], [lane for _, lane in placed]
    first = min((attempt.start for attempt in attempts), default=0.0)
    starts = [round((attempt.start - first) * 1000) for attempt in attempts]
    environments = sorted({attempt.environment for attempt in attempts})
    number = {environment: index for index, environment in enumerate(environments)}
    index_of = {case.sequence: index for index, case in enumerate(measured.cases)}
    return {
        "first": first,
        "hosts": [host or "?" for host in hosts],
        "host": [hosts.index(attempt.host) for attempt in attempts] if len(hosts) > 1 else [0] * len(attempts),
        "lane": lanes,
        "start": [starts[0], *(after - before for before, after in pairwise(starts))] if starts else [],
        "length": [round(attempt.seconds * 1000) for attempt in attempts],
        "cpu": [round(attempt.cpu * 1000) for attempt in attempts],
        "memory": [round((attempt.memory or 0) / 1000) for attempt in attempts],
        "ending": [_ending(attempt) for attempt in attempts],
        "attempt": [attempt.attempt for attempt in attempts],
        "environments": [environment or "?" for environment in environments],
        "environment": [number[attempt.environment] for attempt in attempts],
        "case": [index_of.get(attempt.sequence, -1) for attempt in attempts],
        "cases": [name(case) for case in measured.cases],
        "slots": [
            [*(round((moment - first) * 1000) for moment in (session.started, end_of(session))), session.jobs]
            for session in measured.sessions
        ],
    }


def _ending(attempt: Result) -> int:
    if attempt.succeeded:
        return SUCCEEDED
    return INTERRUPTED if attempt.interrupted else FAILED
