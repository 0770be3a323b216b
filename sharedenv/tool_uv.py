"""The table [tool.uv] of a script → its normal form: what can change what is installed, paths and lists canonical.

Pure. The tables below hold the options that uv 0.13.9 takes in a script, with their types. Any other is an error in uv,
and so it is here. An option that says what uv does anyway (``no-build = false``, ``resolution = "highest"``) still
overrules the project's, so it counts unless it is a list or table of nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sharedenv.requirement import RequirementError, merge, normal_name, parse_requirement
from sharedenv.secret import keep_aside

#: options of a project that uv does not apply to its scripts: they are about the project itself
NOT_FOR_SCRIPTS = frozenset(
    [
        *("add-bounds", "audit", "build-backend", "build-constraint-dependencies", "cache-keys", "check-url"),
        *("conflicts", "constraint-dependencies", "default-groups", "dependency-groups", "dev-dependencies"),
        *("environments", "exclude-dependencies", "managed", "minimum-libc-version", "override-dependencies"),
        *("package", "pip", "publish-url", "required-environments", "sources", "trusted-publishing", "workspace"),
    ]
)


class OptionError(ValueError):
    """An option that can't be read; ``option`` is its dotted name below tool.uv."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.message = message
        self.option = option


@dataclass(frozen=True, slots=True)
class Place:
    """Where relative paths of a text start (``folder``), and the ``root`` they are written relative to."""

    folder: str
    root: str
    urls: dict[str, str] = field(default_factory=dict)  # URL without credentials → with them, learnt on the way
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


def normal_options(options: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The options of a script that count, in normal form, without credentials. Raises OptionError."""
    normal: dict[str, Any] = {}
    for name, value in options.items():
        if name not in INERT and name not in COUNTED:
            raise OptionError("uv knows no such option of a script", name)
        normal.update(normal_option(name, value, place))
    return normal


def normal_option(name: str, value: Any, place: Place) -> dict[str, Any]:
    """One option in normal form, as ``{name: value}``, or ``{}`` when it says nothing. Raises OptionError.

    One that is not known here counts as it stands: a later uv may resolve by it.
    """
    try:
        found = (INERT.get(name) or COUNTED.get(name) or _anything)(value, place)
    except (RequirementError, _WrongType) as error:
        raise OptionError(str(error), name) from None
    return {} if name in INERT or found in ([], {}) else {name: found}


def is_url(text: str) -> bool:
    """Whether a location is a URL rather than a path, as uv tells them apart."""
    return "://" in text


Reader = Callable[[Any, Place], Any]


class _WrongType(ValueError):
    """The message says what was expected."""


def _text(value: Any, place: Place) -> str:  # noqa: ARG001 - readers have one signature
    if not isinstance(value, str):
        raise _WrongType("not a string")
    return value


def _flag(value: Any, place: Place) -> bool:  # noqa: ARG001 - readers have one signature
    if not isinstance(value, bool):
        raise _WrongType("neither true nor false")
    return value


def _count(value: Any, place: Place) -> int:  # noqa: ARG001 - readers have one signature
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _WrongType("not a number above 0")
    return value


def _one_of(*words: str) -> Reader:
    def read(value: Any, place: Place) -> str:
        if _text(value, place) not in words:
            raise _WrongType(f"{value!r} is none of {', '.join(words)}")
        return str(value)

    return read


def _texts(value: Any, place: Place) -> list[str]:
    return [_text(item, place) for item in _list(value)]


def _anything(value: Any, place: Place) -> Any:  # noqa: ARG001 - readers have one signature
    return _plain(value)


def _text_or_false(value: Any, place: Place) -> str | bool:
    return False if value is False else _text(value, place)


def _names(value: Any, place: Place) -> list[str]:
    return sorted({normal_name(_text(item, place)) for item in _list(value)})


def _requirements(value: Any, place: Place) -> list[str]:
    return merge(parse_requirement(_text(item, place)).without_credentials(place.urls) for item in _list(value))


def _overrides(value: Any, place: Place) -> list[Any]:
    # an entry may also be a table for one package
    texts = [item for item in _list(value) if isinstance(item, str)]
    return [*_requirements(texts, place), *(_plain(item) for item in _list(value) if not isinstance(item, str))]


def _excludes(value: Any, place: Place) -> list[Any]:
    texts = [item for item in _list(value) if isinstance(item, str)]
    return [*_names(texts, place), *(_plain(item) for item in _list(value) if not isinstance(item, str))]


def _by_package(value: Any, place: Place) -> dict[str, Any]:  # noqa: ARG001 - readers have one signature
    return {normal_name(name): _plain(item) for name, item in _table(value).items()}


def _location(value: Any, place: Place) -> str:
    text = _text(value, place)
    return keep_aside(text, place.urls) if is_url(text) else place.canonical(text)


def _locations(value: Any, place: Place) -> list[str]:
    return [_location(item, place) for item in _list(value)]


#: fields of an index that say what uv does anyway, or nothing about what is found there
_INDEX_DEFAULTS = (("format", "simple"), ("authenticate", "auto"), ("default", False), ("explicit", False))
_INDEX_INERT = ("cache-control", "publish-url")


def _indexes(value: Any, place: Place) -> list[dict[str, Any]]:
    normal = []
    for item in map(_table, _list(value)):
        index = {name: _plain(entry) for name, entry in item.items() if name not in _INDEX_INERT}
        if "url" not in index:
            raise _WrongType("an index without a url")
        index["url"] = _location(index["url"], place)
        normal.append({name: entry for name, entry in index.items() if (name, entry) not in _INDEX_DEFAULTS})
    return normal


_SOURCE_KINDS = ("git", "url", "path", "index", "workspace")
_SOURCE_FIELDS = frozenset(
    [*_SOURCE_KINDS, "subdirectory", "rev", "tag", "branch", "lfs", "editable", "package", "marker", "extra", "group"]
)


def _sources(value: Any, place: Place) -> dict[str, Any]:
    normal = {}
    for name, item in _table(value).items():
        entries = item if isinstance(item, list) else [item]
        if not entries:
            raise _WrongType(f"{name}: no source at all")
        normal[normal_name(name)] = [_source(name, _table(entry), place) for entry in entries]
    return normal


def _source(package: str, source: Mapping[str, Any], place: Place) -> dict[str, Any]:
    if strange := sorted(source.keys() - _SOURCE_FIELDS):
        raise _WrongType(f"{package}: uv knows no {strange[0]} of a source")
    if not any(kind in source for kind in _SOURCE_KINDS):
        raise _WrongType(f"{package}: a source is one of {', '.join(_SOURCE_KINDS)}")
    normal = {name: _plain(item) for name, item in source.items()}
    for name in ("path", "workspace"):
        # with git, the path is one in the repository
        if isinstance(normal.get(name), str) and "git" not in normal:
            normal[name] = place.canonical(normal[name])
    for name in ("git", "url"):
        if name in normal:
            normal[name] = keep_aside(_text(normal[name], place).removeprefix("git+"), place.urls)
    if "marker" in normal:
        normal["marker"] = parse_requirement(f"x ; {_text(normal['marker'], place)}").marker
    return normal


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongType("not a list")
    return value


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _WrongType("not a table")
    return value


def _plain(value: Any) -> Any:
    """A TOML value as JSON holds it; raises _WrongType for dates, infinities and NaN, which uv takes nowhere."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    raise _WrongType(f"{value} is neither text nor number")


#: options that can't change what is installed: how fast, through what, with which messages
INERT: Mapping[str, Reader] = {
    "allow-insecure-host": _texts,
    "cache-dir": _text,
    "compile-bytecode": _flag,
    "concurrent-builds": _count,
    "concurrent-downloads": _count,
    "concurrent-installs": _count,
    "http-proxy": _text,
    "https-proxy": _text,
    "keyring-provider": _one_of("disabled", "subprocess"),
    "link-mode": _one_of("clone", "reflink", "copy", "hardlink", "symlink"),
    "native-tls": _flag,
    "no-cache": _flag,
    "no-proxy": _texts,
    "offline": _flag,
    "preview": _anything,
    "preview-features": _anything,
    "python-downloads": _anything,
    "reinstall": _flag,
    "reinstall-package": _names,
    "system-certs": _flag,
    "upgrade": _flag,
    "upgrade-package": _requirements,
}

#: every option that counts → its normal form
COUNTED: Mapping[str, Reader] = {
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
    "fork-strategy": _one_of("fewest", "requires-python"),
    "index": _indexes,
    "index-strategy": _one_of("first-index", "unsafe-first-match", "unsafe-best-match"),
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
    "prerelease": _one_of("disallow", "allow", "if-necessary", "explicit", "if-necessary-or-explicit"),
    "prerelease-package": _by_package,
    "python-preference": _one_of("only-managed", "managed", "system", "only-system"),
    "require-build-hashes": _flag,
    "required-version": _text,
    "resolution": _one_of("highest", "lowest", "lowest-direct"),
    "sources": _sources,
    "torch-backend": _text,
}
