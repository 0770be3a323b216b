"""Lengths of time and sizes as people write them."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

from sharedenv.care.leaving import DAY

_SECONDS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


NONE = -1.0  #: what `none` stands for


def age(value: str) -> float:
    """A length of time with its unit, in seconds: 30d, 12h, 2w, 90min. A usage error for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"{value!r} is no length of time such as 30d, 12h or 2w")
    return float(found[1]) * _SECONDS[found[2]]


def volume(value: str) -> int:
    """A number of bytes with its unit: 20G (decimal, as quotas are counted), 20GiB. A usage error for anything else."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)\s*((?:[kmgt]i?)?b?)", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"{value!r} is no size such as 20G or 500M")
    number, unit = float(found[1]), found[2]
    if number and not unit:  # 10 for 10G would leave nothing
        raise click.BadParameter(f"{value!r} has no unit: 20G, 500M, 10B")
    return int(number * _BYTES[unit.removesuffix("b")])


def or_none(read: Callable[[str], float]) -> Callable[[str], float]:
    """The same, or NONE for the word none."""

    def either(value: str) -> float:
        return NONE if value.strip().lower() == "none" else read(value)

    return either
