"""What a run would take the next time, with the reason in figures. Pure."""

from __future__ import annotations

from math import ceil
from statistics import median

from sharedenv.report.words import count, duration, size
from sharedenv.run.measures import Measures
from sharedenv.values import frozen

_ROOM = 1.25  # what is asked for beyond what was needed
_WAITS, _MANY = 0.7, 1.3  # CPU shares below which a script waits for something, and above which it has several threads
_LONG = 0.5  # seconds: of shorter scripts, the CPU share says how a Python starts


@frozen
class Advice:
    """One option, the value that would do, and why."""

    option: str
    value: str
    reason: str


def advise(measured: Measures) -> list[Advice]:
    """What the durations, the CPU time and the memory of a run speak for; nothing of what it doesn't tell."""
    ended = [result for result in measured.results.values() if result.seconds and not result.interrupted]
    if not ended:
        return []
    return [*_at_once(measured), *_memory(measured), *_time(measured), *_tasks(measured)]


def _at_once(measured: Measures) -> list[Advice]:
    shares = [result.cpu / result.seconds for result in measured.results.values() if result.seconds >= _LONG and not result.interrupted]
    if not shares:
        return []
    share = median(shares)
    if share < _WAITS:
        many = max(2, round(1 / max(share, 0.05)))
        return [Advice("-j", f"{many} a CPU", f"half of the scripts use at most {share:.0%} of a CPU: the rest of the time they wait")]
    if share > _MANY:
        each = ceil(share - 0.2)
        return [Advice("-j", f"a CPU count / {each}", f"half of the scripts use {share:.1f} CPUs or more; or --threads 1")]
    return [Advice("-j", "one a CPU", f"half of the scripts use {share:.0%} of a CPU or more")]


def _memory(measured: Measures) -> list[Advice]:
    sizes = sorted(result.memory for result in measured.results.values() if result.memory)
    widths = [session.jobs for session in measured.sessions]
    if not sizes or not widths:
        return []
    width = max(widths)
    together = sum(sizes[-width:])
    asked = max(1, ceil(together * _ROOM / 1e9))
    return [Advice("--mem", f"{asked}G", f"the {count(min(width, len(sizes)), 'largest', 'largest')} together took {size(together)}")]


def _time(measured: Measures) -> list[Advice]:
    longest = max(attempt.seconds for attempt in measured.attempts)
    slots = max(1, measured.slots)
    needed = max(measured.busy / slots, longest)
    minutes = max(1, ceil(needed * _ROOM / 60))
    text = f"{minutes // 60}:{minutes % 60:02}:00"
    return [Advice("--time", text, f"{duration(measured.busy)} of scripts on {count(slots, 'slot')}, the longest {duration(longest)}")]


def _tasks(measured: Measures) -> list[Advice]:
    longest = max(attempt.seconds for attempt in measured.attempts)
    useful = max(1, ceil(measured.busy / longest)) if longest else 1
    return [Advice("slots", f"{useful:,} at most", "with more, the longest script alone decides when all is done")]
