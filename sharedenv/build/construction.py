"""What a build needs beside its payload, and what it tells meanwhile. A value."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from sharedenv.build.interpreter import Fetches
from sharedenv.build.options import BuildOptions
from sharedenv.build.uv import Uv
from sharedenv.key.settings import Settings
from sharedenv.pool.layout import Layout
from sharedenv.values import frozen


@frozen
class Construction:
    """Everything that one build needs beside its payload."""

    layout: Layout
    settings: Settings
    uv: Uv
    options: BuildOptions
    environ: Mapping[str, str]
    cwd: str  # that of the command: paths in messages are relative to it, and a batch that runs meanwhile changes folders
    fetches: Fetches
    step: Callable[[str], None]  # told what is being done, for a progress line
    note: Callable[[str], None]  # told what the user should know
    warn: Callable[[str], None]  # told what one might expect and what is not done


def below(root: str, path: str) -> str:
    """A path relative to a folder above it, another one as it is."""
    return os.path.relpath(path, root) if path.startswith(root + os.sep) else path
