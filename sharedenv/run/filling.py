"""`{number}`, `{slot}` and, with a table, `{column}` of what a user typed: a case's number, its slot, a value of its row. Pure."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Collection, Mapping

from sharedenv.errors import SharedenvError

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


PLACEHOLDERS = ("number", "slot")


def has_placeholder(text: str | None) -> bool:
    """Whether something stands between braces that differs from case to case."""
    if text is None or "{" not in text:
        return False
    try:
        return not set(PLACEHOLDERS).isdisjoint(parse(text)[1::2])
    except ValueError:
        return False


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with values for its placeholders; others stand as they are, and so does what a run of an older sharedenv has."""
    if "{" not in text and "}" not in text:
        return text
    try:
        pieces = parse(text)
    except ValueError:
        return text
    return "".join([values.get(piece, f"{{{piece}}}") if number % 2 else piece for number, piece in enumerate(pieces)])


def check_placeholders(option: str, text: str, columns: Collection[str] = ()) -> None:
    """Raises SharedenvError for a text of the command line with a brace that means nothing; ``columns``: of the table."""
    try:
        strange = [name for name in names_in(text) if name not in PLACEHOLDERS and name not in columns]
    except ValueError as error:
        raise SharedenvError(f"{option} {text}: {error}", hint=f"{option} {shlex.quote(escaped(text))}") from None
    if strange:
        known = " and ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        cause = f"{known} stand for the number of a case and the slot that it runs in; {{{{ and }}}} stand for braces"
        hint = f"{option} {shlex.quote(escaped(text))}"
        raise SharedenvError(f"{option} {text}: nothing stands for {{{strange[0]}}}", cause=cause, hint=hint)


def with_columns(text: str, values: Mapping[str, str]) -> str:
    """The text with the values of a row for its columns; what it holds else is still to be filled. Raises ValueError, KeyError."""
    later = {name: f"{{{name}}}" for name in PLACEHOLDERS}
    known = {**later, **{name: escaped(value) for name, value in values.items()}}
    return "".join([known[piece] if number % 2 else escaped(piece) for number, piece in enumerate(parse(text))])


def before_placeholder(text: str) -> str:
    """What stands before the first placeholder."""
    return parse(text)[0]


def escaped(text: str) -> str:
    """A text in which no brace means anything."""
    return text.replace("{", "{{").replace("}", "}}")
