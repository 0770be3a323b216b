"""`{number}`, `{slot}` and, with a table, `{column}`: the number of a case, the slot it runs in, a value of its row. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping

from sharedenv.errors import SharedenvError
from sharedenv.run.placeholders import names_in, parse

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
