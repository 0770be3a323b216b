"""Where in a TOML text a field stands: tomli gives values without places, and an error has to name a line. Pure."""

from __future__ import annotations

import re
from collections.abc import Generator

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""+'  # a closing run may be up to five quotes long: two of them belong to the text
    r"|'''.*?'''+"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\n"
    r"|[\[\]{},=.]"
    r"|[^\s\[\]{},=.\"'\#]+",
    re.DOTALL,
)
_Token = tuple[str, int]  # text, 0-based line it starts in
_Place = tuple[str, int]  # field, 0-based line


def line_of(text: str, field: str) -> int | None:
    """The 0-based line in a *valid* TOML text where ``field`` stands, or the nearest that holds it; None: nowhere.

    A field is a dotted name with 0-based places in arrays: ``dependencies[2]``, ``tool.uv.sources.numpy``. For an entry
    of an array it is the entry's own line, for a name the line of its key or of the table's header.
    """
    places: dict[str, int] = {}
    for name, line in _places(_tokens(text)):
        places.setdefault(name, line)
        for end in (match.start() for match in re.finditer(r"[.\[]", name)):
            places.setdefault(name[:end], line)  # `a.b = 1` also says where `a` is
    while field:
        if field in places:
            return places[field]
        field = field[: max(field.rfind("."), field.rfind("["), 0)]
    return None


def _tokens(text: str) -> list[_Token]:
    tokens, line, counted = [], 0, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", counted, match.start())
        counted = match.start()
        if not match[0].startswith("#"):
            tokens.append((match[0], line))
    tokens.append(("", line))
    return tokens


def _places(tokens: list[_Token]) -> Generator[_Place, None, None]:
    """Each field of the text with its line, in the order of the text."""
    table, index = "", 0
    entries: dict[str, int] = {}  # how many [[table]] so far
    while tokens[index][0]:
        text, line = tokens[index]
        if text == "\n":
            index += 1
        elif text == "[":
            many = tokens[index + 1][0] == "["
            name, index = _key(tokens, index + 1 + many)
            if many:
                entries[name] = entries.get(name, -1) + 1
                yield name, line
                name += f"[{entries[name]}]"
            table = name + "."
            yield name, line
            index += 1 + many
        else:
            name, index = _key(tokens, index)
            yield table + name, line
            index = yield from _value(tokens, index + 1, table + name)


def _key(tokens: list[_Token], index: int) -> tuple[str, int]:
    """A dotted key without its quotes, and the index behind it."""
    parts = []
    while tokens[index][0] not in {"", "=", "]"}:
        if tokens[index][0] != ".":
            parts.append(tokens[index][0].strip("\"'"))
        index += 1
    return ".".join(parts), index


def _value(tokens: list[_Token], index: int, name: str) -> Generator[_Place, None, int]:
    """The fields inside a value; returns the index behind it."""
    opening = tokens[index][0]
    if opening not in {"[", "{"}:
        while tokens[index][0] not in {"", "\n", ",", "]", "}"}:
            index += 1
        return index
    index, entry = index + 1, 0
    while tokens[index][0] not in {"", "]", "}"}:
        text, line = tokens[index]
        if text in {"\n", ","}:
            index += 1
        elif opening == "[":
            yield f"{name}[{entry}]", line
            index = yield from _value(tokens, index, f"{name}[{entry}]")
            entry += 1
        else:
            key, index = _key(tokens, index)
            yield f"{name}.{key}", line
            index = yield from _value(tokens, index + 1, f"{name}.{key}")
    return index + 1
