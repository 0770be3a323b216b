"""The lock file beside a script: for which Python and under which options it was made, and which places it names. Pure.

uv writes folders into a lock relative to it, even those given as absolute paths. So the same bytes beside two scripts can
mean two things, and a lock that names places holds only where it lies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import tomli

from sharedenv.secret import split_url

#: a source or a requirement that is a place; `path` inside `wheels` and `sdist` starts at a registry, and comes first there
_PLACE = re.compile(r'(?:\b(?:directory|editable|virtual|registry)|(?:source = \{|,)\s*path)\s*=\s*"((?:[^"\\]|\\.)*)"')


_REQUIRES = re.compile(rb'^requires-python = "([^"]*)"', re.MULTILINE)

#: a URL that may hold credentials
_URL = re.compile(rb'(?<=")[^"\n]*://[^"\n]*[@?][^"\n]*(?=")')

#: a text of [options] → the option of a uv.toml that makes it
_RECORDED = {
    "resolution-mode": "resolution",
    "prerelease-mode": "prerelease",
    "fork-strategy": "fork-strategy",
    "exclude-newer": "exclude-newer",
}


def locked_python(lock: bytes) -> str:
    """The requires-python of a lock file as it stands; "" when it has none."""
    found = _REQUIRES.search(lock)
    return found[1].decode("utf-8", "replace") if found else ""


@lru_cache(maxsize=64)
def places(lock: bytes) -> tuple[str, ...]:
    """The relative paths of folders, wheels and flat indexes that a lock file names, as they stand, each once, sorted."""
    found = set(_PLACE.findall(lock.decode("utf-8", "surrogateescape")))
    return tuple(sorted(place for place in found if "://" not in place and not place.startswith("/")))


def with_urls(lock: bytes, change: Callable[[str], str]) -> bytes:
    """A lock file with each URL that may hold credentials changed."""
    return _URL.sub(lambda found: change(found[0].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape"), lock)


def without_credentials(lock: bytes) -> bytes:
    """A lock file whose URLs hold none; the same bytes where they held none."""
    return with_urls(lock, lambda url: split_url(url)[0] if split_url(url)[1] else url)


def secrets_of(lock: bytes) -> set[str]:
    """The credentials in the URLs of a lock file."""
    return {secret for url in _URL.findall(lock) for secret in split_url(url.decode("utf-8", "surrogateescape"))[1]}


def recorded_options(lock: bytes) -> dict[str, Any]:
    """The options that a lock file was made under, as a uv.toml has them: {} where there were none, or it can't be read.

    uv goes by a lock file under the same options alone: under others it makes a new one, or refuses it (``--locked``).
    """
    try:
        document = tomli.loads(lock.decode())
    except (ValueError, RecursionError):
        return {}
    recorded = _table(document, "options")
    options = {option: recorded[name] for name, option in _RECORDED.items() if name in recorded}
    if "exclude-newer-span" in recorded:  # how long ago; the date beside it means nothing
        options["exclude-newer"] = recorded["exclude-newer-span"]
    if packages := _table(recorded, "exclude-newer-package"):
        options["exclude-newer-package"] = {name: _span(value) for name, value in packages.items()}
    if packages := _table(recorded, "prerelease-package"):
        options["prerelease-package"] = packages
    if metadata := _table(document, "manifest").get("dependency-metadata"):
        options["dependency-metadata"] = metadata
    return options


def _table(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _span(value: Any) -> Any:
    return value.get("span", value.get("timestamp")) if isinstance(value, dict) else value
