"""A TOML value → its normal form, or why uv would not take it: what the options of [tool.uv] are put together from. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from sharedenv.key.requirement import RequirementError, merge, normal_name, parse_requirement, parse_specifiers, url_fault
from sharedenv.secret import hide, keep_aside
from sharedenv.values import frozen


class WrongType(ValueError):
    """A value that is not what an option takes; the message says what was expected, and shows no credentials."""

    def __init__(self, message: str) -> None:
        super().__init__(hide(message))


@frozen
class Base:
    """Where relative paths of a text start (``folder``), and the ``root`` they are written relative to."""

    folder: str
    root: str
    urls: dict[str, str] = field(default_factory=dict)  # text without credentials → with them, learnt on the way
    relative: list[str] = field(default_factory=list)  # paths that started at the folder, learnt on the way

    def canonical(self, path: str) -> str:
        """``./…`` below the root (``.`` the root itself), absolute elsewhere. Raises RequirementError when uv can't have it."""
        if not os.path.isabs(path):
            self.relative.append(path)
        absolute = os.path.normpath(os.path.join(self.folder, path))
        if any("\ud800" <= char <= "\udfff" for char in absolute):
            raise RequirementError(f"the path {absolute!a} is not UTF-8, which uv wants")
        relative = os.path.relpath(absolute, self.root)
        if relative == ".":
            return relative
        return absolute if relative == ".." or relative.startswith("../") else f"./{relative}"


#: a value and where it stands → its normal form; raises WrongType, RequirementError
Reader = Callable[[Any, Base], Any]


def is_url(text: str) -> bool:
    """Whether a location is a URL rather than a path, as uv tells them apart."""
    return "://" in text


def text(value: Any, place: Base) -> str:  # noqa: ARG001 - readers have one signature
    """A string."""
    if not isinstance(value, str):
        raise WrongType("not a string")
    return value


def flag(value: Any, place: Base) -> bool:  # noqa: ARG001 - readers have one signature
    """True or false."""
    if not isinstance(value, bool):
        raise WrongType("neither true nor false")
    return value


def count(value: Any, place: Base) -> int:  # noqa: ARG001 - readers have one signature
    """A whole number from 1 to what 64 bits hold."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**64:
        raise WrongType("not a number above 0")
    return value


def plain(value: Any, place: Base) -> Any:
    """Anything, as JSON holds it and without credentials; refuses dates, infinities and NaN, which uv takes nowhere."""
    if isinstance(value, dict):
        return {str(name): plain(item, place) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item, place) for item in value]
    if isinstance(value, str):
        shown = hide(value)
        if shown != value:
            place.urls.setdefault(shown, value)
        return shown
    if isinstance(value, bool | int) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    raise WrongType(f"{value} is neither text nor number")


def name(value: Any, place: Base) -> str:
    """The name of a package or an extra, by PEP 503."""
    return normal_name(text(value, place))


def specifiers(value: Any, place: Base) -> str:
    """Version specifiers."""
    return parse_specifiers(text(value, place))


def version(value: Any, place: Base) -> str:
    """A version, as it stands."""
    if "*" in parse_specifiers("==" + text(value, place).strip()):
        raise WrongType(f"{value!r} is not a version")
    return str(value)


def requirement(value: Any, place: Base) -> str:
    """One requirement in normal form."""
    return parse_requirement(text(value, place)).without_credentials(place.urls).text()


def requirements(value: Any, place: Base) -> list[str]:
    """A list of requirements in normal form, merged and sorted."""
    return merge(parse_requirement(text(item, place)).without_credentials(place.urls) for item in entries(value))


def names(value: Any, place: Base) -> list[str]:
    """A set of names of packages."""
    return sorted({name(item, place) for item in entries(value)})


def location(value: Any, place: Base) -> str:
    """A URL without credentials, or a path as ``place`` writes it."""
    where = text(value, place)
    if not where:
        raise WrongType("an empty place")
    if not is_url(where):
        return place.canonical(where)
    if fault := url_fault(where):
        raise WrongType(f"{where!r}: {fault}")
    return keep_aside(where, place.urls)


def one_of(*words: str) -> Reader:
    """A reader of one of these words."""

    def read(value: Any, place: Base) -> str:
        if text(value, place) not in words:
            raise WrongType(f"{value!r} is none of {', '.join(words)}")
        return str(value)

    return read


def like(pattern: str, what: str) -> Reader:
    """A reader of texts that match a whole pattern; ``what`` they are."""

    def read(value: Any, place: Base) -> str:
        if not re.fullmatch(pattern, text(value, place)):
            raise WrongType(f"{value!r} is not {what}")
        return str(value)

    return read


def list_of(reader: Reader) -> Reader:
    """A reader of lists, in their order."""
    return lambda value, place: [reader(item, place) for item in entries(value)]


def by_package(reader: Reader) -> Reader:
    """A reader of tables with a package's name before each value; of two spellings of a name the last counts, as in uv."""
    return lambda value, place: {normal_name(package): reader(item, place) for package, item in table(value).items()}


def by_name(reader: Reader) -> Reader:
    """A reader of tables with any name before each value."""
    return lambda value, place: {str(key): reader(item, place) for key, item in table(value).items()}


def texts_or_tables(texts: Reader, tables: Reader) -> Reader:
    """A reader of lists whose strings and tables are two things: the strings first, as ``texts`` has their list."""

    def read(value: Any, place: Base) -> list[Any]:
        strings = [item for item in entries(value) if not isinstance(item, dict)]
        return [*texts(strings, place), *(tables(item, place) for item in value if isinstance(item, dict))]

    return read


def record(fields: Mapping[str, Reader], required: tuple[str, ...]) -> Reader:
    """A reader of tables with these fields and no others."""

    def read(value: Any, place: Base) -> dict[str, Any]:
        if strange := sorted(table(value).keys() - fields.keys()):
            raise WrongType(f"uv knows no {strange[0]} there")
        if missing := [key for key in required if key not in value]:
            raise WrongType(f"{missing[0]} is missing")
        return {key: fields[key](item, place) for key, item in value.items()}

    return read


def entries(value: Any) -> list[Any]:
    """The value itself, which must be a list."""
    if not isinstance(value, list):
        raise WrongType("not a list")
    return value


def table(value: Any) -> Mapping[str, Any]:
    """The value itself, which must be a table."""
    if not isinstance(value, dict):
        raise WrongType("not a table")
    return value
