"""How every worker of a run runs its cases: what was asked when the run was planned. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sharedenv.run.needs import Needs
from sharedenv.run.orders import GRACE, BatchOptions
from sharedenv.values import frozen

ORDERS = ("longest", "given")  #: in which the cases of a list may be begun: what is not known or took longest before, or as it was given


@frozen
class Terms:
    """What `plan` was given: `run` has the same options.

    timeout, grace  seconds
    tries           attempts at a case, by all workers together
    fail_fast       the first failure ends all workers' claims
    joblog          absolute path, None for none: the last worker makes it
    """

    timeout: float | None = None
    grace: float = GRACE
    tries: int = 1
    fail_fast: bool = False
    capture: str | None = None
    threads: int | None = None
    preload: bool = False
    joblog: str | None = None
    creates: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    gpus_per_case: int | None = None
    cpus_per_case: int | None = None

    @property
    def needs(self) -> Needs:
        """What each case gets for itself."""
        return Needs(self.gpus_per_case, self.cpus_per_case)

    def record(self) -> dict[str, Any]:
        """For a JSON record."""
        return asdict(self)

    def words(self) -> tuple[str, ...]:
        """What a command line says for it, but for what belongs to one call (fail_fast, joblog)."""
        said = {
            "--timeout": self.timeout,
            "--grace": None if self.grace == GRACE else self.grace,
            "--retries": None if self.tries == 1 else self.tries,
            "--capture": self.capture,
            "--launcher": shlex.join(self.launcher) or None,
            "--threads": self.threads,
            "--gpus-per-case": self.gpus_per_case,
            "--cpus-per-case": self.cpus_per_case,
        }
        once = [word for name, value in said.items() if value is not None for word in (name, str(value))]
        return (*once, *[word for name in self.creates for word in ("--creates", name)], *(("--preload",) if self.preload else ()))

    def options(self, jobs: int, delay: float, hesitation: float) -> BatchOptions:
        """Of a worker's batch: the rest is the worker's own."""
        return BatchOptions(
            jobs=jobs,
            timeout=self.timeout,
            grace=self.grace,
            tries=self.tries,
            fail_fast=self.fail_fast,
            delay=delay,
            hesitation=hesitation,
            capture=self.capture,
            creates=self.creates,
        )


def terms_of(extra: Mapping[str, Any]) -> Terms:
    """The terms that a run's maker has noted (`Asked.extra`); what a later version notes beside them is passed over."""
    noted = extra.get("terms", {})
    known: dict[str, Any] = {name: noted[name] for name in asdict(Terms()) if name in noted}
    return Terms(**{**known, **{name: tuple(known.get(name, ())) for name in ("creates", "launcher")}})
