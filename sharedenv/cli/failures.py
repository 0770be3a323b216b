"""The failures of a run in groups, as `status --failures` numbers them and `--group N` names one."""

from __future__ import annotations

import os
from collections.abc import Callable

from sharedenv.cli.slurm import is_on_slurm
from sharedenv.cluster.status import look
from sharedenv.errors import SharedenvError
from sharedenv.report.console import Console
from sharedenv.report.summary import Group, group
from sharedenv.report.words import count, printable
from sharedenv.run.journal.run import Run
from sharedenv.run.workers import FAILED


def failure_groups(run: Run) -> tuple[Group, ...]:
    """The failures of a run by what they said, the largest group first."""
    if not is_on_slurm(run):
        results, _ = run.read()
        ended = [(case, result) for case in run.cases() if (result := results.get(case.sequence)) and not result.interrupted]
        return group((case, result) for case, result in ended if not result.succeeded)
    stands = look(run, os.environ)
    failed = (sequence for sequence in stands.sequences(FAILED) if sequence in stands.results)
    return group((stands.cases[sequence], stands.results[sequence]) for sequence in failed)


def failure_group(run: Run, number: int) -> Group:
    """The group of this number, from 1 on. Raises SharedenvError where there is none."""
    groups = failure_groups(run)
    if number > len(groups):
        raise SharedenvError(
            f"run {run.id} has no group {number} of failures",
            cause=f"its failures said {count(len(groups), 'different thing')}" if groups else "nothing failed in it",
            hint=f"sharedenv status --failures {run.id}" if groups else f"sharedenv status {run.id}",
        )
    return groups[number - 1]


def sequences_of(run: Run, number: int | None) -> frozenset[int] | None:
    """The cases of a group; None where no group is named. Raises SharedenvError."""
    return None if number is None else frozenset(case.sequence for case in failure_group(run, number).cases)


def tell_failures(run: Run, name: Callable[[str], str], console: Console) -> None:
    """Writes each group of a run whole on stdout: what it said, the last lines of its first member, how to run it again, its scripts; that
    there are none, on stderr.
    """
    groups = failure_groups(run)
    results, _ = run.read(tails=True)
    again = "submit" if is_on_slurm(run) else "run"
    for number, one in enumerate(groups, 1):
        first = one.cases[0]
        console.answer(f"group {number}: {len(one.cases):,} × {console.result_style('error', one.said)}")
        if tail := results[first.sequence].tail.strip("\n"):
            console.answer(f"  the last lines of {printable(name(first.script))}:")
            for line in tail.split("\n"):
                console.result(f"    {printable(line)}")
        console.answer(f"  to run them again: {console.in_pool(f'sharedenv {again} --retry-failed --group {number} --run-id {run.id}')}")
        for case in one.cases:
            console.result(f"  {printable(name(case.script))}")
    if not groups:
        console.say(f"nothing failed in run {run.id}")
