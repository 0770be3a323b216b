"""`run --dry-run`: what would be started."""

from __future__ import annotations

import os
import shlex

from sharedenv.app.work import Work
from sharedenv.cli.scripts import tell_bad
from sharedenv.pool.store import published
from sharedenv.report.console import Console
from sharedenv.report.words import count, noun_of
from sharedenv.run.allot import Allotment
from sharedenv.run.binding import listed
from sharedenv.run.place import NUMBER, SLOT, Place
from sharedenv.run.products import are_there
from sharedenv.run.starter import Prepared
from sharedenv.run.terms import Terms
from sharedenv.run.variables import THREADS


def dry_run(work: Work, console: Console, allotment: Allotment, terms: Terms) -> int:
    """Prints the commands, and what goes with the slots that they would run in; the exit status."""
    commands: dict[str, Prepared] = {}
    missing = 0
    for key in work.plan.needs:
        path = published(work.layout, key)
        missing += path is None
        python = os.path.join(path or os.path.join(work.layout.keys, key), "bin", "python")
        commands[key] = Prepared(python, {}, launcher=terms.launcher)
    begun = work.begun  # a set of all that was begun before, made anew each time
    cases = [case for case in work.cases if case.sequence in begun or not are_there(case, terms.creates)]
    for case in cases:
        command = shlex.join(commands[case.key].argv(case))
        console.result(f"cd {shlex.quote(case.folder)} && {NUMBER}={case.sequence} {command}")
    if missing:
        console.say(f"{count(missing, 'environment')} would be built")
    if before := len(work.cases) - len(cases):
        console.say(f"{count(before, noun_of(work.cases))} done before")
    console.say(f"{count(len(cases), noun_of(work.cases))} would run, {allotment.jobs:,} at a time")
    for place in allotment.made:
        console.say(f"slot {place.slot}: {', '.join(_given(place))}")
    if terms.threads is not None:
        console.say(f"{THREADS[0]} and its kin: {terms.threads}")
    return tell_bad(work.plan, console)


def _given(place: Place) -> list[str]:
    told = {os.fsdecode(name): os.fsdecode(value) for name, value in place.variables.items()}
    said = [f"{name}={value}" for name, value in told.items() if name != SLOT]
    return said + ([f"CPUs {listed(place.cpus)}"] if place.cpus else [])
