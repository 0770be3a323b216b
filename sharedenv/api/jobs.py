"""What a call asks of the process that does its work, and what that answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sharedenv.app.join import JoinOrder
from sharedenv.app.work import Request
from sharedenv.build.options import BuildOptions
from sharedenv.values import frozen


@frozen
class Wishes:
    """What the caller wants to hear of meanwhile: lines for people, results of cases, what cases write."""

    lines: bool = False
    results: bool = False
    outputs: bool = False


@frozen
class RunJob:
    """`run`. ``given``: of Terms, what the caller has said; the rest is as usual, or as the run that it goes on with has it."""

    pool: str | None
    request: Request
    given: Mapping[str, Any]
    build: BuildOptions
    jobs: int | None
    delay: float
    builds: bool
    insist: bool
    wishes: Wishes


@frozen
class JoinJob:
    """`join`. ``wait``: until nobody else is at work on the run."""

    pool: str | None
    run: str
    order: JoinOrder
    wait: bool
    wishes: Wishes


@frozen
class CaseOutput:
    """What a case wrote, given when it has ended for good.

    number  of the case in its run, from 1
    script  absolute path
    row     of the table that it was made from, None without one
    stdout, stderr  bytes as they came
    """

    number: int
    script: str
    row: Mapping[str, str] | None
    stdout: bytes
    stderr: bytes
