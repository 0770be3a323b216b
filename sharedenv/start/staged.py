"""Where the copy of an environment on node-local disk is, if there is one. Imports next to nothing: every start asks."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sharedenv.start.access import MANIFEST
from sharedenv.start.fingerprint import sha256
from sharedenv.start.regular import read_regular
from sharedenv.start.trust import environment_fault

VARIABLE = "SHAREDENV_STAGE"  #: the folder of copies on this node


def identity(environment: str) -> str:
    """Name of the copies of the environment at this path: `<key12>-<n>-<12 digits of its manifest's sha256>`.

    The manifest tells builds apart that have one name: of two pools, or of one pool before and after a prune. Raises
    OSError when there is no manifest.
    """
    return f"{os.path.basename(environment)}-{sha256(read_regular(os.path.join(environment, MANIFEST))).hexdigest()[:12]}"


def staged_path(environment: str, environ: Mapping[str, str]) -> str | None:
    """Path of the copy below SHAREDENV_STAGE; None when the variable is not set or holds no copy of this environment.

    What others could have put there counts as none: such a folder is often everybody's.
    """
    folder = environ.get(VARIABLE)
    if not folder:
        return None
    try:
        path = os.path.join(os.path.abspath(folder), identity(environment))
        whole = os.path.exists(os.path.join(path, "bin", "python")) and copy_fault(environment, path) is None
    except OSError:
        return None
    return path if whole else None


def copy_fault(environment: str, copy: str) -> str | None:
    """Why a copy of this environment of a pool must not be run, in words, or None: it is trusted as the pool's own are.

    Raises OSError when the pool can't be looked at.
    """
    return environment_fault(os.stat(os.path.dirname(os.path.dirname(environment))), copy, os.environ)


def path_to_use(environment: str, environ: Mapping[str, str]) -> str:
    """The copy on this node where there is one, else the environment in the pool."""
    return staged_path(environment, environ) or environment
