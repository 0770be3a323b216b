"""What a run would take the next time, with the reason in figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, inf, isinf
from statistics import median

from sharedenv.cluster.climbed import RungUse
from sharedenv.cluster.rungs import MEMORY, TIME, Allowance
from sharedenv.report.words import count, duration, size
from sharedenv.run.case import Result
from sharedenv.run.journal.sessions import list_number
from sharedenv.run.measures import Measures, slots_of
from sharedenv.values import frozen

_ROOM = 1.25  # what is asked for beyond what was needed
_WAITS, _MANY = 0.7, 1.3  # CPU shares below which a script waits for something, and above which it has several threads
_GIGABYTE, _MEGABYTE = 1024**3, 1024**2  # as sbatch counts
_LONG = 0.5  # seconds: of shorter scripts, the CPU share says how a Python starts


@frozen
class Advice:
    """One option, the value that would do, and why."""

    option: str
    value: str
    reason: str


def advise(measured: Measures, ladder: Sequence[RungUse] = ()) -> list[Advice]:
    """What the durations, the CPU time and the memory of a run speak for; nothing of what it doesn't tell. ``ladder``: its rungs, lowest
    first: what was enough for some of it is told of each.
    """
    ended = [result for result in measured.results.values() if result.seconds and not result.interrupted]
    if not ended:
        return []
    memory = _of_rungs(_MEMORY, ladder) or _memory(measured)
    time = _of_rungs(_TIME, ladder) or _time(measured)
    return [*_at_once(measured), *memory, *time, *_tasks(measured)]


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
    width = max((session.jobs for session in measured.sessions), default=0)
    together, reason = _largest(measured.results.values(), width)
    return [Advice("--mem", _memory_text(max(together, _GIGABYTE)), reason)] if together else []


def _largest(results: Iterable[Result], width: int) -> tuple[float, str]:
    """Bytes that as many of these as run at once may need together; 0.0 where nothing is known of them."""
    sizes = sorted(result.memory for result in results if result.memory)[-width:] if width else []
    if not sizes:
        return 0.0, "no script was larger than what ran it"
    return sum(sizes) * _ROOM, f"the {count(len(sizes), 'largest', 'largest')} together took {size(sum(sizes))}"


def _time(measured: Measures) -> list[Advice]:
    needed, reason = _longest(measured.attempts, measured.attempts, measured.slots)
    return [Advice("--time", _time_text(needed), reason)]


def _longest(attempts: Iterable[Result], good: Iterable[Result], slots: int) -> tuple[float, str]:
    """Seconds that all of these attempts may take on so many slots; ``good``: those of which one is the longest that counts."""
    busy, longest, slots = sum(each.seconds for each in attempts), max(each.seconds for each in good), max(1, slots)
    return max(busy / slots, longest) * _ROOM, f"{duration(busy)} of scripts on {count(slots, 'slot')}, the longest {duration(longest)}"


def _tasks(measured: Measures) -> list[Advice]:
    longest = max(attempt.seconds for attempt in measured.attempts)
    useful = max(1, ceil(measured.busy / longest)) if longest else 1
    why = "with more, the longest script alone decides when all is done"
    tasks = [session for session in measured.sessions if list_number(session.writer) > 0]
    if not tasks:
        return [Advice("slots", f"{useful:,} at most", why)]
    width = max(session.jobs for session in tasks)
    return [Advice("--tasks", f"{ceil(useful / width):,} at most", f"{why}; a task had {count(width, 'slot')}")]


def _memory_text(needed: float) -> str:
    """As sbatch takes it, rounded up: `4G`; below that `300M`."""
    return f"{ceil(needed / _GIGABYTE - 1e-9)}G" if needed > 0.9 * _GIGABYTE else f"{ceil(needed / _MEGABYTE / 10 - 1e-9) * 10}M"


def _time_text(needed: float) -> str:
    """As sbatch takes it, rounded up to minutes: `1:30:00`."""
    minutes = max(1, ceil(needed / 60 - 1e-9))
    return f"{minutes // 60}:{minutes % 60:02}:00"


@frozen
class _Limit:
    """One of the two that rungs have.

    why     a case goes on that it was too little for
    given   to a rung, infinite where it has none
    needed  by what succeeded on a rung, 0.0 where that is not known, and the reason
    text    of so much of it
    """

    option: str
    why: str
    given: Callable[[Allowance], float]
    needed: Callable[[RungUse], tuple[float, str]]
    text: Callable[[float], str]


_MEMORY = _Limit("--mem", MEMORY, lambda limits: limits.kilobytes * 1024, lambda one: _largest(one.good, one.width), _memory_text)
_TIME = _Limit(
    "--time", TIME, lambda limits: limits.seconds, lambda one: _longest(one.attempts, one.good, slots_of(one.sessions)), _time_text
)


def _of_rungs(limit: _Limit, ladder: Sequence[RungUse]) -> list[Advice]:
    """The values that would do on each rung; [] where all have the same, or none was enough for anything."""
    given = [limit.given(one.rung.limits) for one in ladder]
    if len(set(given)) < 2:
        return []
    values, reasons = [0.0], []
    for one, had in zip(ladder, given, strict=True):
        last = had == given[-1]
        done, short = len(one.done), len(one.short[limit.why])
        if done and (last or short <= done):
            needed, reason = limit.needed(one)
            values.append(max(values[-1], min(needed or had, inf if last and not short else had)))
            reasons.append(f"rung {one.rung.number}, enough for {done:,}: {reason}")
        elif short:
            reasons.append(f"rung {one.rung.number} was too little for {short:,} of {done + short:,}")
        if last and short:
            values.append(2 * had)
            reasons.append(f"{limit.text(had)} was too little for {count(short, 'script')}, too")
    told = list(dict.fromkeys(limit.text(value) for value in values if value and not isinf(value)))
    return [Advice(limit.option, ",".join(told), "; ".join(reasons))] if told else []
