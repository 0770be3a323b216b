"""Shares of a list that are fixed beforehand. Pure; imports nothing heavy, since every task pays for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.values import frozen

Item = TypeVar("Item")
_64 = 2**64 - 1


@frozen
class Share:
    """One of ``count`` shares: ``index`` is 0-based here, 1-based wherever a user reads or writes it."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def take(items: Sequence[Item], share: Share) -> Sequence[Item]:
    """The items that a task of an array has which was submitted in shares: the 1st, the 1+count-th …"""
    return items[share.index :: share.count]


def deal(items: Sequence[Item], share: Share) -> list[Item]:
    """The items of one share, in the list's order: every item is in exactly one share, sizes differ by one at most.

    It is dealt out in rounds, one item to each share, and the order of the shares is another in each round, always the same on every
    machine. Sweeps have an order: with blocks, one that gets dearer along the list would leave all the dear ones to the last share; with
    strides, one whose inner loop has as many values as there are shares (or twice, or half as many) would leave them to a few.
    """
    rounds = range(-(-len(items) // share.count))
    return [items[found] for number in rounds if (found := position(number, share)) < len(items)]


def position(number: int, share: Share) -> int:
    """Where an item of a share stands in the list of all, from 0; ``number``: in the share, from 0."""
    start = number * share.count
    own = _mixed(start + share.index)
    return start + sum(_mixed(other) < own for other in range(start, start + share.count))


def _mixed(number: int) -> int:
    """A number below 2**64 that says nothing of the one it is made from (the finalizer of splitmix64); of two it never makes one."""
    number = (number + 1) * 0x9E3779B97F4A7C15 & _64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _64
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _64
    return number ^ number >> 31


def parse_shard(text: str) -> Share:
    """The share that ``I/N`` names, 1-based as in `split -n K/N`: 1/4 … 4/4. Raises SharedenvError."""
    first, _, last = text.partition("/")
    index, count = _digits(first), _digits(last)
    if index is None or count is None or not 1 <= index <= count:
        raise SharedenvError(
            f"--shard {text} is not a share of the work",
            cause="a share is I/N with I from 1 to N, such as 1/4",
            hint=f"--shard 1/{count or 4} … --shard {count or 4}/{count or 4}",
            exit_code=EXIT_USAGE,
        )
    return Share(index - 1, count)


def _digits(text: str) -> int | None:
    # int() alone takes "+3", "1_000" and Arabic digits
    return int(text) if text.isascii() and text.isdigit() else None
