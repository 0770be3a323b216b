"""Paths, patterns and lists → the files to take, each once, in natural order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable


def expand(arguments: Iterable[str], cwd: str) -> list[str]:
    """Absolute paths of the scripts that the arguments name, each once, in the order given."""
    found: dict[str, None] = {}
    for argument in arguments:
        matches = sorted(glob.glob(argument, root_dir=cwd, recursive=True)) if glob.has_magic(argument) else [argument]
        for match in matches:
            found[os.path.normpath(os.path.join(cwd, match))] = None
    return list(found)
