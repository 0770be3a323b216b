"""The lock file beside a script: for which Python it was made, and which places on this machine it names. Pure.

uv writes folders into a lock relative to it, even those given as absolute paths. So the same bytes beside two scripts can
mean two things, and a lock that names places holds only where it lies.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: a source or a requirement that is a place; `path` inside `wheels` and `sdist` starts at a registry, and comes first there
_PLACE = re.compile(r'(?:\b(?:directory|editable|virtual|registry)|(?:source = \{|,)\s*path)\s*=\s*"((?:[^"\\]|\\.)*)"')


_REQUIRES = re.compile(rb'^requires-python = "([^"]*)"', re.MULTILINE)


def locked_python(lock: bytes) -> str:
    """The requires-python of a lock file as it stands; "" when it has none."""
    found = _REQUIRES.search(lock)
    return found[1].decode("utf-8", "replace") if found else ""


@lru_cache(maxsize=64)
def places(lock: bytes) -> tuple[str, ...]:
    """The relative paths of folders, wheels and flat indexes that a lock file names, as they stand, each once, sorted."""
    found = set(_PLACE.findall(lock.decode("utf-8", "surrogateescape")))
    return tuple(sorted(place for place in found if "://" not in place and not place.startswith("/")))
