"""Two payloads → in words, what differs; many payloads → the nearest one. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sharedenv.key.payload import Payload
from sharedenv.values import frozen

ABSENT = "absent"
NAMED = 4  #: differences in one line, at most


@frozen
class Difference:
    """One field in which two payloads differ (dotted name), and the text of either side; ABSENT where it has none.

    An entry of a list that one side alone has is a difference of its own.
    """

    field: str
    here: str
    there: str
    is_entry: bool = False


def compare(here: Payload, there: Payload) -> list[Difference]:
    """All that differs, field by field, in the order of the payload's names."""
    return list(_tables("", here.document, there.document))


def differences(here: Payload, there: Payload, names: tuple[str, str] = ("here", "there")) -> list[str]:
    """A line for each difference: ``dependencies: numpy>=1.26 only in a.py``, ``python: 3.11 in a.py, absent in b.py``.

    ``names`` are those of the two sides; [] when nothing differs.
    """
    left, right = (name if name in ("here", "there") else f"in {name}" for name in names)
    lines = []
    for item in compare(here, there):
        if item.is_entry:
            told = f"{item.here} only {left}" if item.there == ABSENT else f"{item.there} only {right}"
        else:
            told = f"{item.here} {left}, {item.there} {right}"
        lines.append(f"{item.field}: {told}")
    return lines


def brief(here: Payload, there: Payload) -> str:
    """One line for an error: ``differs in settings.UV_PRERELEASE (allow here, absent there)``; "" when nothing differs.

    Environments that have little in common differ in more than anybody reads: the first differences and a count.
    """
    told = [line.split(": ", 1) for line in differences(here, there)]
    named = [f"{field} ({words})" for field, words in told[:NAMED]]
    if len(told) > NAMED:
        named.append(f"{len(told) - NAMED:,} more")
    return "differs in " + "; ".join(named) if named else ""


def nearest(payload: Payload, others: Iterable[Payload]) -> Payload | None:
    """The one that differs from ``payload`` in the fewest fields, the first of several; None of none."""
    return min(others, key=lambda other: len(compare(payload, other)), default=None)


def _tables(prefix: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted(here.keys() | there.keys()):
        left, right = here.get(name), there.get(name)
        if left == right:
            continue
        field = prefix + name
        if isinstance(left or {}, dict) and isinstance(right or {}, dict) and (left or right):
            yield from _tables(f"{field}.", left or {}, right or {})
        elif isinstance(left or [], list) and isinstance(right or [], list) and (left or right):
            yield from _lists(field, left or [], right or [])
        else:
            yield Difference(field, _text(left), _text(right))


def _lists(field: str, here: list[Any], there: list[Any]) -> Iterator[Difference]:
    left, right = [_text(item) for item in here], [_text(item) for item in there]
    if sorted(left) == sorted(right):
        yield Difference(field, ", ".join(left), ", ".join(right))
        return
    yield from (Difference(field, item, ABSENT, is_entry=True) for item in left if item not in right)
    yield from (Difference(field, ABSENT, item, is_entry=True) for item in right if item not in left)


def _text(value: Any) -> str:
    if value is None or value == "":
        return ABSENT
    if isinstance(value, str):
        # the digest of a lock file: enough of it to tell two apart
        return value[:19] if value.startswith("sha256:") else value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
