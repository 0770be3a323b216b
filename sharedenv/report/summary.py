"""How a run ended, for people: counts, failures grouped by what they said, the slowest, and how to go on. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from sharedenv.report.words import case_name, case_names, count, duration, noun_of, printable, size
from sharedenv.run.case import Case, Result
from sharedenv.run.slot import LAUNCHER
from sharedenv.run.telling import last_words
from sharedenv.values import frozen

GROUPS = 10  #: groups of failures shown
NAMED = 3  #: scripts named in each group
REST = 10  #: scripts named of those that are in no group shown
_NAME = re.compile(r"[\w-]|\.\w")  # part of a path's name
_WIDTH = 160  # characters of a script's own words
_HEAD = 70  # of those, from the beginning; the others are from the end
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")  # an address of an object is one, too


@frozen
class Group:
    """Failures that said the same: what they said, and their cases in the order asked."""

    said: str
    cases: tuple[Case, ...]


@frozen
class Summary:
    """What there is to tell of a run.

    left     cases that have not been run to their end
    running  those of them that are at work
    halfway  those of them that were ended with the run, and not begun again: their folders may hold half of what they write
    going    whether the run is: what is left is to come
    seconds  wall time of the run, None where it can't be known
    cpu      CPU seconds of all scripts
    slowest  case and seconds, slowest first, of those that were started
    largest  case and peak bytes, None where no script was larger than the runner itself
    noun     what the cases are called
    before   of those that succeeded: how many were done before, as their products were there (--creates)
    """

    total: int
    succeeded: int
    failed: int
    left: int
    seconds: float | None
    cpu: float
    groups: tuple[Group, ...]
    slowest: tuple[tuple[Case, float], ...]
    largest: tuple[Case, int] | None
    running: int = 0
    going: bool = False
    halfway: tuple[Case, ...] = ()
    noun: str = "script"
    before: int = 0


def summarize(
    cases: Sequence[Case],
    results: Mapping[int, Result],
    seconds: float | None,
    *,
    running: Collection[int] = (),
    going: bool = False,
) -> Summary:
    """The summary of a run: its cases in the order asked, the last result of each by sequence, the sequences of those at work."""
    ended = [
        (case, result) for case in cases if (result := results.get(case.sequence)) is not None and not result.interrupted
    ]
    failed = [(case, result) for case, result in ended if not result.succeeded]
    slowest = sorted((pair for pair in ended if pair[1].seconds), key=lambda pair: -pair[1].seconds)[:3]
    largest = max(ended, key=lambda pair: pair[1].memory or 0, default=None)
    return Summary(
        len(cases),
        len(ended) - len(failed),
        len(failed),
        len(cases) - len(ended),
        seconds,
        sum(result.cpu for _, result in ended),
        group(failed),
        tuple((case, result.seconds) for case, result in slowest),
        (largest[0], largest[1].memory) if largest and largest[1].memory else None,
        len(running),
        going,
        () if going else tuple(case for case in interrupted(cases, results) if case.sequence not in running),
        noun_of(cases),
        sum(result.done_before for _, result in ended),
    )


def interrupted(cases: Iterable[Case], results: Mapping[int, Result]) -> list[Case]:
    """The cases that were ended with a run and not begun again."""
    return [case for case in cases if (result := results.get(case.sequence)) is not None and result.interrupted]


def group(failed: Iterable[tuple[Case, Result]]) -> tuple[Group, ...]:
    """Failures by what they said, the largest group first.

    A script's own folder is left out of its words, so that copies say the same; words that differ in numbers only count as
    the same too, and the first of them stand for all. The exit status is no such number.
    """
    found: dict[tuple[int, int, str], tuple[list[str], list[Case]]] = {}
    for case, result in failed:
        said = words(case, result)
        how = (0, 0) if result.error else (result.status, result.signal)  # ended by TERM or by KILL: timed out all the same
        texts, cases = found.setdefault((*how, _NUMBER.sub("#", said)), ([], []))
        cases.append(case)
        if said not in texts[:1]:
            texts.append(said)
    groups = [Group(texts[0] + (", and the like" if texts[1:] else ""), tuple(cases)) for texts, cases in found.values()]
    return tuple(sorted(groups, key=lambda one: -len(one.cases)))


def words(case: Case, result: Result) -> str:
    """Why a case failed, in one line: `exit 1: ValueError: negative density`, `killed by SIGKILL`, `timed out after 10 s`."""
    if result.error:
        how = result.error
    elif result.signal:
        how = f"killed by {_signal_name(result.signal)}"
    else:
        how = f"exit {result.status}"
    own = last_words(result.tail)
    said = how if not own or (result.error and not result.error.startswith(("timed out", LAUNCHER))) else f"{how}: {own}"
    said = _without(said.replace(case.script, "SCRIPT"), case.folder.rstrip("/"))
    # what went wrong stands at the end as often as at the beginning: a path between them is what can be missed
    return printable(said if len(said) <= _WIDTH else f"{said[:_HEAD]}…{said[_HEAD - _WIDTH:]}")


def _without(said: str, folder: str) -> str:
    """The text with paths below ``folder`` relative to it; "" for the root, in which all paths lie, leaves it as it is."""
    told, rest = "", 0
    while folder and (start := said.find(folder, rest)) >= 0:
        told += said[rest:start]
        rest = end = start + len(folder)
        if _NAME.match(said, max(0, start - 1), start) or _NAME.match(said, end):  # /mnt/data and /database for /data
            told += folder
        elif said.startswith("/", end):
            rest += 1
        else:
            told += "."
    return told + said[rest:]


def summary_lines(
    summary: Summary, name: Callable[[str], str], style: Callable[[str, str], str], *, everything: bool = False
) -> list[str]:
    """The text; ``name`` shortens a path for the reader. ``everything``: all groups of failures are shown."""
    lines = [_headline(summary, style)]
    if summary.halfway:
        lines.append(f"  {style('warning', 'interrupted:')} {case_names(summary.halfway, name, NAMED)}")
    # what a single one more takes is what the words about it would
    shown = summary.groups if everything or len(summary.groups) == GROUPS + 1 else summary.groups[:GROUPS]
    width = max((len(f"{len(one.cases):,}") for one in shown), default=1)
    for one in shown:
        lines.append(f"  {len(one.cases):>{width},} × {style('error', one.said)}")
        lines.append(f"  {'':>{width}}   {case_names(one.cases, name, NAMED, values=True)}")
    if rest := summary.groups[len(shown) :]:
        others = tuple(case for one in rest for case in one.cases)
        lines.append(f"  and {len(others):,} that said {len(rest):,} other things; sharedenv status --failures has them all")
        lines.append(f"  {'':>{width}}   {case_names(others, name, REST)}")
    if len(summary.slowest) > 1:
        slow = ", ".join(f"{case_name(case, name)} {duration(seconds)}" for case, seconds in summary.slowest)
        lines.append(style("dim", f"slowest: {slow}"))
    if summary.largest is not None:
        case, memory = summary.largest
        lines.append(style("dim", f"largest: {case_name(case, name)} {size(memory)}"))
    return lines


def _headline(summary: Summary, style: Callable[[str, str], str]) -> str:
    took = "" if summary.seconds is None else f" in {duration(summary.seconds)}"
    said = []
    if summary.succeeded:
        before = f", {summary.before:,} of them done before" if summary.before else ""
        said.append(style("good", f"{summary.succeeded:,} succeeded") + before)
    if summary.failed:
        said.append(style("error", f"{summary.failed:,} failed"))
    if summary.running:
        said.append(f"{summary.running:,} running")
    if summary.halfway:
        said.append(style("warning", f"{len(summary.halfway):,} interrupted"))
    if left := summary.left - summary.running - len(summary.halfway):
        said.append(f"{left:,} to go" if summary.going else style("warning", f"{left:,} not run"))
    cpu = f" (CPU {duration(summary.cpu)})" if summary.cpu >= 1 else ""
    return f"{count(summary.total, summary.noun)}{took}: {', '.join(said) or 'nothing to do'}{cpu}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
