"""Rungs: a script that one array lost for want of memory or time goes on in the next, which has more of it. Pure, but for one file.

All arrays are submitted at once, each behind the one before: many sites take no submission from a node. What an array takes over is
known once those below it have ended: see climb.py.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sharedenv.cluster.sbatch import seconds
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.start.regular import read_regular
from sharedenv.values import frozen

MEMORY, TIME, REST = "memory", "time", "rest"  #: why a case goes on: REST, it was cut off early or not begun when its tasks had to end
TAKEN = "rung.json"  #: a file in the folder of an array that is no first rung: what it has taken over

_WHY = {MEMORY: "more memory", TIME: "more time", REST: "what the tasks before it had to leave"}

_UNITS = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}


@frozen
class Allowance:
    """What the tasks of a rung may use, as sbatch takes it; None: what the cluster gives."""

    memory: str | None
    time: str | None

    @property
    def text(self) -> str:
        """For messages: `8G, 4:00:00`."""
        return ", ".join(value for value in (self.memory, self.time) if value is not None)

    @property
    def seconds(self) -> float:
        """The time limit, infinite where there is none."""
        return (seconds(self.time) if self.time else None) or math.inf

    @property
    def kilobytes(self) -> float:
        """The memory, infinite where it is all that a node has."""
        found = re.fullmatch(r"(\d+)([KMGT]?)B?", self.memory.upper(), re.ASCII) if self.memory else None
        return int(found[1]) * _UNITS[found[2] or "M"] or math.inf if found else math.inf


@frozen
class Rung:
    """One of the arrays that were submitted behind each other.

    number  of the rung, from 1
    of      how many there are
    first   number of the first one's array: the arrays have consecutive numbers
    margin  seconds before the time limit at which a task starts nothing more
    """

    number: int
    of: int
    first: int
    margin: int
    limits: Allowance

    @property
    def arrays(self) -> range:
        """The numbers of all arrays of the ladder."""
        return range(self.first, self.first + self.of)

    @property
    def name(self) -> str:
        """In messages: `rung 2 (8G, 4:00:00)`."""
        return f"rung {self.number} ({self.limits.text})"

    def promise(self, why: str) -> str:
        """What a case waits for that is to go on here, in words for the user."""
        return f"{self.name}, for {_WHY[why]}"

    def record(self) -> dict[str, Any]:
        """For array.json."""
        return asdict(self)


@frozen
class Taken:
    """What a rung has taken over: sequences, by why; and how many cases of the ladder have not succeeded and were not taken."""

    memory: tuple[int, ...] = ()
    time: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()
    undone: int = 0

    @property
    def sequences(self) -> tuple[int, ...]:
        """All of them, in order."""
        return tuple(sorted((*self.memory, *self.time, *self.rest)))


def rung_of(record: Mapping[str, Any]) -> Rung:
    """The rung that array.json tells of. Raises KeyError, TypeError."""
    return Rung(**{**record, "limits": Allowance(**record["limits"])})


def read_taken(folder: str) -> Taken | None:
    """What the rung whose array is in a folder has taken over; None while that is not decided. Raises OSError, ValueError, TypeError."""
    try:
        record = json.loads(read_regular(os.path.join(folder, TAKEN)))
    except FileNotFoundError:
        return None
    return Taken(tuple(record[MEMORY]), tuple(record[TIME]), tuple(record[REST]), int(record["undone"]))


def ladder_of(memory: str | None, time: str | None) -> list[Allowance]:
    """The rungs that `--mem 4G,8G` and `--time 1:00:00,4:00:00` ask for, lowest first: of the option with fewer values the last one stands
    for the rest. One where neither has several. Raises SharedenvError.
    """
    memories, times = _values("--mem", memory), _values("--time", time)
    count = max(len(memories), len(times))
    ladder = [Allowance(memories[min(place, len(memories) - 1)], times[min(place, len(times) - 1)]) for place in range(count)]
    for below, above in itertools.pairwise(ladder):
        _refuse_less("--mem", below.memory, above.memory, below.kilobytes > above.kilobytes)
        _refuse_less("--time", below.time, above.time, below.seconds > above.seconds)
    return ladder


def _values(option: str, text: str | None) -> list[str | None]:
    if text is None or "," not in text:
        return [text]
    pattern = r"\d+([KMGT]B?)?" if option == "--mem" else r"(\d+-)?\d+(:\d+){0,2}|UNLIMITED|INFINITE"
    values = [value.strip() for value in text.split(",")]
    for value in values:
        if not re.fullmatch(pattern, value.upper(), re.ASCII):
            raise _refused(f"{option} {text}: {value or 'an empty value'} is none of its values")
    return list(values)


def _refuse_less(option: str, below: str | None, above: str | None, less: bool) -> None:
    if less:
        raise _refused(f"{option} goes down from {below} to {above}", "each value is for what the one before was too little for")


def _refused(message: str, cause: str | None = None) -> SharedenvError:
    return SharedenvError(message, cause=cause, hint="sharedenv submit --mem 4G,8G,16G --time 1:00:00,4:00:00 …", exit_code=EXIT_USAGE)
