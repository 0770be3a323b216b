"""The sets of versions that a run was computed with, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sharedenv.report.table import table
from sharedenv.report.words import case_names, count, first_names
from sharedenv.run.case import Case
from sharedenv.run.sets import SetUsed
from sharedenv.start.access import SHORT


def mixed_lines(
    mixed: Iterable[Mapping[str, Sequence[Case]]], look: str, name: Callable[[str], str], style: Callable[[str, str], str]
) -> list[str]:
    """What `status` warns of: cases with one key and several sets, each with its cases. ``look``: the command that says what differs."""
    lines = []
    for sets in mixed:
        lines.append(style("warning", f"results with {len(sets)} sets of versions; what differs: {look}"))
        lines += [f"  {len(cases):,} with {digest[:SHORT]}: {_named(cases, name)}" for digest, cases in sets.items()]
    return lines


def mixed_share_lines(
    mixed: Iterable[Mapping[str, Sequence[int]]], look: Callable[[int], str], style: Callable[[str, str], str]
) -> list[str]:
    """The same of shares of one whole: sets, each with its shares. ``look``: the command that says what a share was computed with."""
    lines = []
    for sets in mixed:
        lines.append(style("warning", f"shares with {len(sets)} sets of versions; each is one run with one set:"))
        for digest, shares in sets.items():
            some = first_names([str(share) for share in shares], str)
            lines.append(f"  {digest[:SHORT]}: share {some}; what is in it: {look(shares[0])}")
    return lines


def set_lines(used: Sequence[SetUsed], total: int, unknown: int, name: Callable[[str], str]) -> list[str]:
    """What `show --run` prints: each set with its cases, its environments and its packages."""
    lines = []
    for one in used:
        python = f"Python {one.versions.python}, " if one.versions else ""
        those = f"{len(one.cases):,} of {count(total, 'script')}: {_named(one.cases, name)}" if one.cases else "no result yet"
        lines.append(f"versions {one.digest[:SHORT]}: {python}{those}")
        lines += [f"  environment {environment}" for environment in one.environments]
        if one.versions is None:
            lines.append("  the file that says what is in them is gone or damaged")
        else:
            packages = [(f"  {package}", version) for package, version in one.versions.names.items()]
            lines += list(table(("", ""), packages))[1:]
    if unknown:
        lines.append(f"nothing tells with which versions {count(unknown, 'result')} were computed: by an older sharedenv")
    return lines


def set_values(used: Iterable[SetUsed]) -> list[dict[str, Any]]:
    """The same as JSON values."""
    return [
        {
            "versions": one.digest,
            "python": one.versions.python if one.versions else None,
            "packages": one.versions.names if one.versions else None,
            "environments": one.environments,
            "cases": [case.sequence for case in one.cases],
        }
        for one in used
    ]


def _named(cases: Sequence[Case], name: Callable[[str], str]) -> str:
    return case_names(cases, name)
