"""How a requires-python is read that says `==3.12` or `<=3.12`: PEP 440 takes that as 3.12.0, people mean all of 3.12.

Pure, and loaded by every `run`: no library.
"""

from __future__ import annotations

import re

#: in a canonical requires-python, a bound that ends with the minor version
_BOUND = re.compile(r"(?:(?<=,)|^)(<=|==)(\d+)\.(\d+)(?=,|$)")


def in_order(requires: str) -> str:
    """A canonical requires-python in the order in which people write one: `>=3.10,<3.13`."""
    return ",".join(sorted(requires.split(","), reverse=True))  # ~= >= > == <= < !=


def read_loosely(requires: str) -> str | None:
    """A canonical requires-python as people mean it, `==3.12.*` for `==3.12` and `<3.13` for `<=3.12`; None where it says no such thing."""
    return _BOUND.sub(_all_of_it, requires) if _BOUND.search(requires) else None


def narrowness(requires: str) -> str | None:
    """What a requires-python with such a bound says, and what to write in its place; None where it has none."""
    bound = _BOUND.search(requires)
    if bound is None:
        return None
    minor = f"{bound[2]}.{bound[3]}"
    alone = bound[1] == "==" or f">={minor}" in requires.split(",")
    effect = f"admits {minor}.0 alone" if alone else f"excludes {minor}.1 and all later"
    instead = in_order(_BOUND.sub(_all_of_it, requires))
    return f"{in_order(requires)} {effect}, since {bound[0]} means {bound[0]}.0; write {instead} instead"


def lock_read_loosely(lock: bytes) -> bytes:
    """A lock file of uv's for the same script with its requires-python read loosely."""
    return re.sub(rb'(?m)^requires-python = "([^"\n]*)"', _loose_line, lock, count=1)


def loose_reading(requires: str, version: str) -> str | None:
    """How a requires-python was read for a Python that meets it only as people mean it, in words for the user; else None."""
    for bound in _BOUND.finditer(requires):
        patch = re.fullmatch(rf"{bound[2]}\.{bound[3]}\.(\d+).*", version)
        if patch and int(patch[1]) > 0:
            return f"requires-python is read as {in_order(read_loosely(requires) or '')}, with Python {version}: {narrowness(requires)}"
    return None


def _loose_line(found: re.Match[bytes]) -> bytes:
    requires = ",".join(part.strip() for part in found[1].decode().split(","))
    return f'requires-python = "{read_loosely(requires) or requires}"'.encode()


def _all_of_it(bound: re.Match[str]) -> str:
    operator, major, minor = bound[1], bound[2], int(bound[3])
    return f"=={major}.{minor}.*" if operator == "==" else f"<{major}.{minor + 1}"
