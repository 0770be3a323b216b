"""A payload for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_NOTHING = {"requires-python": "any", "python": "no request"}
_FIRST = ("requires-python", "python", "platform", "lock", "dependencies", "tool.uv", "settings")


def explained(document: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a payload's document: a field a line, an entry of a list a line."""
    for name in (*_FIRST, *sorted(document.keys() - {*_FIRST, "schema"})):
        first, *rest = list(_lines(document[name])) or [_NOTHING.get(name, "none")]
        yield f"  {name:<16} {first}"
        yield from (f"  {'':<16} {line}" for line in rest)


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{name} = {item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)}"
    elif isinstance(value, list):
        yield from value
    elif value:
        yield str(value)
