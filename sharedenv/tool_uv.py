"""The table [tool.uv] of a script → its normal form: what can change what is installed, paths and lists made canonical. Pure.

The options are those that uv 0.13.9 takes in a script; another one is an error in uv, and so it is here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sharedenv.requirement import RequirementError, merge, normal_name, parse_requirement
from sharedenv.secret import keep_aside

#: options that can't change what is installed: how fast, through what, with which messages
INERT = frozenset(
    """allow-insecure-host cache-dir compile-bytecode concurrent-builds concurrent-downloads concurrent-installs http-proxy
    https-proxy keyring-provider link-mode native-tls no-cache no-proxy offline preview preview-features python-downloads reinstall
    reinstall-package system-certs upgrade upgrade-package""".split()
)

#: inert options that a build may need to succeed: they travel beside the payload
CARRIED = INERT - frozenset(["cache-dir", "compile-bytecode", "link-mode", "reinstall", "reinstall-package", "upgrade", "upgrade-package"])

#: options whose default is written out by some and left out by others
_DEFAULTS: Mapping[str, Any] = {
    "index-strategy": "first-index",
    "resolution": "highest",
    "fork-strategy": "requires-python",
}


class OptionError(ValueError):
    """An option that can't be read; ``option`` is its dotted name below tool.uv."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.message = message
        self.option = option


@dataclass(frozen=True, slots=True)
class Place:
    """Where relative paths of a text start (``folder``), and the project's ``root`` they are written relative to; both absolute."""

    folder: str
    root: str
    urls: dict[str, str] = field(default_factory=dict)  # URL without credentials → the URL with them, learnt on the way

    def canonical(self, path: str) -> str:
        """``./…`` below the root (``.`` the root itself), absolute elsewhere."""
        absolute = os.path.normpath(os.path.join(self.folder, path))
        relative = os.path.relpath(absolute, self.root)
        if relative == ".":
            return relative
        return absolute if relative == ".." or relative.startswith("../") else f"./{relative}"


def normal_options(options: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The options that count, in normal form, without credentials. Raises OptionError."""
    normal: dict[str, Any] = {}
    for name, value in options.items():
        if name in INERT:
            continue
        if name not in COUNTED:
            raise OptionError(f"uv does not know the option {name} of a script", name)
        try:
            found = COUNTED[name](value, place)
        except RequirementError as error:
            raise OptionError(str(error), name) from None
        except _WrongType as error:
            raise OptionError(f"is not {error}", name) from None
        if found not in (None, False, [], {}) and found != _DEFAULTS.get(name):
            normal[name] = found
    return normal


class _WrongType(ValueError):
    """The message says what was expected."""


def _text(value: Any, place: Place) -> str:  # noqa: ARG001 - one signature for all
    if not isinstance(value, str):
        raise _WrongType("a string")
    return value


def _flag(value: Any, place: Place) -> bool:  # noqa: ARG001
    if not isinstance(value, bool):
        raise _WrongType("true or false")
    return value


def _text_or_false(value: Any, place: Place) -> str | bool:
    # `false` overrules a setting of the project: it is not the same as nothing
    return "false" if value is False else _text(value, place)


def _items(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise _WrongType("a list")
    return value


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _WrongType("a table")
    return value


def _names(value: Any, place: Place) -> list[str]:
    return sorted({normal_name(_text(item, place)) for item in _items(value)})


def _requirements(value: Any, place: Place) -> list[str]:
    return merge(parse_requirement(_text(item, place)).without_credentials(place.urls) for item in _items(value))


def _overrides(value: Any, place: Place) -> list[Any]:
    plain = _requirements([item for item in _items(value) if isinstance(item, str)], place)
    return plain + [_plain(item) for item in _items(value) if not isinstance(item, str)]


def _excludes(value: Any, place: Place) -> list[Any]:
    plain = sorted({normal_name(item) for item in _items(value) if isinstance(item, str)})
    return plain + [_plain(item) for item in _items(value) if not isinstance(item, str)]


def _by_package(value: Any, place: Place) -> dict[str, Any]:  # noqa: ARG001
    return {normal_name(name): _plain(item) for name, item in _table(value).items()}


def _anything(value: Any, place: Place) -> Any:  # noqa: ARG001
    return _plain(value)


def _location(value: Any, place: Place) -> str:
    text = _text(value, place)
    return keep_aside(text, place.urls) if is_url(text) else place.canonical(text)


def _locations(value: Any, place: Place) -> list[str]:
    return [_location(item, place) for item in _items(value)]


def _indexes(value: Any, place: Place) -> list[dict[str, Any]]:
    normal = []
    for item in _items(value):
        index = {name: _plain(entry) for name, entry in _table(item).items() if name not in ("publish-url", "cache-control")}
        if "url" not in index:
            raise _WrongType("a list of tables with a url")
        index["url"] = _location(index["url"], place)
        normal.append({name: entry for name, entry in index.items() if entry is not False and (name, entry) not in _INDEX_DEFAULTS})
    return normal


_INDEX_DEFAULTS = (("format", "simple"), ("authenticate", "auto"))


def _sources(value: Any, place: Place) -> dict[str, Any]:
    return {normal_name(name): _source_list(item, place) for name, item in _table(value).items()}


def _source_list(value: Any, place: Place) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [_source(_table(item), place) for item in items]


def _source(source: Mapping[str, Any], place: Place) -> dict[str, Any]:
    normal = {name: _plain(item) for name, item in source.items()}
    if "path" in normal and "git" not in normal:
        normal["path"] = place.canonical(_text(normal["path"], place))
    if isinstance(normal.get("workspace"), str):
        normal["workspace"] = place.canonical(normal["workspace"])
    for name in ("git", "url"):
        if name in normal:
            normal[name] = keep_aside(_text(normal[name], place), place.urls)
    if "git" in normal:
        normal["git"] = normal["git"].removeprefix("git+")
    if "marker" in normal:
        normal["marker"] = parse_requirement(f"x ; {_text(normal['marker'], place)}").marker
    return normal


def _plain(value: Any) -> Any:
    """A TOML value as JSON holds it: dates become their text."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def is_url(text: str) -> bool:
    """Whether a location is a URL rather than a path, as uv tells them apart."""
    return "://" in text


#: every option that counts → its normal form
COUNTED: Mapping[str, Callable[[Any, Place], Any]] = {
    "build-constraint-dependencies": _requirements,
    "config-settings": _anything,
    "config-settings-package": _by_package,
    "constraint-dependencies": _requirements,
    "dependency-metadata": _anything,
    "exclude-dependencies": _excludes,
    "exclude-newer": _text_or_false,
    "exclude-newer-package": _by_package,
    "extra-build-dependencies": _by_package,
    "extra-build-variables": _by_package,
    "extra-index-url": _locations,
    "find-links": _locations,
    "fork-strategy": _text,
    "index": _indexes,
    "index-strategy": _text,
    "index-url": _location,
    "no-binary": _flag,
    "no-binary-package": _names,
    "no-build": _flag,
    "no-build-isolation": _flag,
    "no-build-isolation-package": _names,
    "no-build-package": _names,
    "no-index": _flag,
    "no-sources": _flag,
    "no-sources-package": _names,
    "override-dependencies": _overrides,
    "prerelease": _text,
    "prerelease-package": _by_package,
    "python-preference": _text,
    "require-build-hashes": _flag,
    "required-version": _text,
    "resolution": _text,
    "sources": _sources,
    "torch-backend": _text,
}
