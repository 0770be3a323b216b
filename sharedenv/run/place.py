"""Where an attempt at a case runs: its slot, and what goes with that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace

from sharedenv.run.case import Case
from sharedenv.run.filling import filled, has_placeholder
from sharedenv.values import frozen

NUMBER = "SHAREDENV_CASE_NUMBER"
SLOT = "SHAREDENV_CASE_SLOT"
ATTEMPT = "SHAREDENV_CASE_ATTEMPT"
_NUMBER, _ATTEMPT = os.fsencode(NUMBER), os.fsencode(ATTEMPT)  # each case pays for what is done again


@frozen
class Place:
    """One of the places of a worker: a case at a time is in it.

    slot         from 1; of no two places that are in use at once on a node, among the workers of a job, the same
    variables    that its cases get beside those of their environment
    cpus         that its cases are bound to, none for no binding
    descriptors  that hold it (node.py); each case's process inherits them
    gpus         that its cases see, by the names that the job has for them
    """

    slot: int = 0
    variables: Mapping[bytes, bytes] = field(default_factory=dict)
    cpus: tuple[int, ...] = ()
    descriptors: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()

    def at(self, case: Case, attempt: int) -> Place:
        """The place with the variables of an attempt at a case."""
        told = {**self.variables, _NUMBER: b"%d" % case.sequence, _ATTEMPT: b"%d" % attempt}
        if case.cwd is not None and has_placeholder(case.cwd):
            told[b"PWD"] = os.fsencode(self.folder(case))
        return replace(self, variables=told)

    def folder(self, case: Case) -> str:
        """The folder that a case starts in here."""
        if case.cwd is None:
            return case.folder
        return filled(case.cwd, {"slot": str(self.slot), "number": str(case.sequence)})  # columns were filled in when it was planned

    def file(self, name: str | None, case: Case) -> str | None:
        """The file that takes a case's output (`--capture`), in its folder; a folder that a placeholder names is made. Raises OSError."""
        if name is None or not has_placeholder(name):
            return None if name is None else self.fill(name, case)
        path = self.fill(name, case)
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        return path

    def fill(self, text: str, case: Case) -> str:
        """A text of the command line with this slot for `{slot}`, and what stands for the case."""
        return filled(text, {"slot": str(self.slot), **case.values})


NOWHERE = Place()  #: without a slot, for who starts a case by itself


def enter(folder: str, *, make: bool) -> None:
    """Goes into a folder; ``make``: it is made where it isn't there. Raises OSError."""
    if make:
        os.makedirs(folder, exist_ok=True)
    os.chdir(folder)


@contextlib.contextmanager
def bound_to(cpus: Collection[int]) -> Iterator[None]:
    """What this thread starts meanwhile is bound to these CPUs, none for no binding. Raises OSError where one of them is gone."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
