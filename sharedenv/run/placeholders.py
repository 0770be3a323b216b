"""`{name}` in what a user typed, such as a word after `--` or the name of a file: what stands for it differs from case to case. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@functools.lru_cache(256)
def parse(text: str) -> tuple[str, ...]:
    """The pieces of a text: what stands for itself, a name, what stands for itself, a name … `{{` is a brace, and so is `}}`.

    Raises ValueError for a brace without its other half, in words for the user.
    """
    pieces = [""]
    rest = 0
    for found in _BRACES.finditer(text):
        pieces[-1] += text[rest : found.start()]
        rest = found.end()
        if found[0] in ("{", "}"):
            raise ValueError(f"a single {found[0]} ({found[0] * 2} stands for a brace)")
        if found[1] is None:
            pieces[-1] += found[0][0]
        else:
            pieces += [found[1], ""]
    pieces[-1] += text[rest:]
    return tuple(pieces)


def names_in(text: str) -> tuple[str, ...]:
    """The names between braces, in the order in which they stand. Raises ValueError as `parse` does."""
    return parse(text)[1::2]


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with the value of each name in its place. Raises ValueError as `parse` does, KeyError for a name without a value."""
    pieces = parse(text)
    if len(pieces) == 1:
        return pieces[0]
    return "".join([values[piece] if number % 2 else piece for number, piece in enumerate(pieces)])
