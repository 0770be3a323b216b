"""Where the copy of an environment on node-local disk is, if there is one. Imports next to nothing: every start asks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

VARIABLE = "SHAREDENV_STAGE"  #: the folder of copies on this node
MANIFEST = "sharedenv.json"  #: pool.manifest.FILE, whose module is too much for a start


def identity(environment: str) -> str:
    """Name of the copies of the environment at this path: `<key12>-<n>-<12 digits of its manifest's sha256>`.

    The manifest tells builds apart that have one name: of two pools, or of one pool before and after a prune. Raises
    OSError when there is no manifest.
    """
    with open(os.path.join(environment, MANIFEST), "rb") as file:
        return f"{os.path.basename(environment)}-{hashlib.sha256(file.read()).hexdigest()[:12]}"


def staged_path(environment: str, environ: Mapping[str, str]) -> str | None:
    """Path of the copy below SHAREDENV_STAGE; None when the variable is not set or holds no copy of this environment."""
    folder = environ.get(VARIABLE)
    if not folder:
        return None
    try:
        path = os.path.join(os.path.abspath(folder), identity(environment))
        return path if os.path.exists(os.path.join(path, "bin", "python")) else None
    except OSError:
        return None


def path_to_use(environment: str, environ: Mapping[str, str]) -> str:
    """The copy on this node where there is one, else the environment in the pool."""
    return staged_path(environment, environ) or environment
