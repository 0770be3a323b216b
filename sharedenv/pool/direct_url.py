"""The URLs that an installer writes into an environment (PyPA's "recording the direct URL origin"): without credentials, and
which of them lead to folders and files of this machine.

uv leaves out what stands before the host, and keeps a token in the query.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from sharedenv.pool.check import normal_name
from sharedenv.pool.record import rewrite_record, write_anew
from sharedenv.secret import strip_url
from sharedenv.start.regular import read_regular
from sharedenv.values import frozen

_NAME = "direct_url.json"


def hide_credentials(venv: str) -> None:
    """Takes credentials out of every direct_url.json, and writes what it is now into the RECORD beside it. Raises OSError.

    Both files are the environment's own, not links into uv's cache: uv writes them anew at each install.
    """
    for path in _paths(venv):
        document = json.loads(read_regular(path))
        url = strip_url(document["url"])
        if url == document["url"]:
            continue
        data = json.dumps({**document, "url": url}, separators=(",", ":")).encode()
        write_anew(path, data)
        folder = os.path.dirname(path)
        rewrite_record(folder, {f"{os.path.basename(folder)}/{_NAME}": data})


@frozen
class Local:
    """A package of an environment that is from this machine's folders and files. ``linked``: an editable one, which is used in place."""

    name: str  # normal form of PEP 503
    path: str
    linked: bool


def local_packages(venv: str) -> list[Local]:
    """The packages of an environment that are from this machine, by name. Raises OSError, ValueError."""
    found = []
    for path in _paths(venv):
        document = json.loads(read_regular(path))
        url = document["url"]
        if url.startswith("file:") and "vcs_info" not in document:
            name = os.path.basename(os.path.dirname(path)).partition("-")[0]
            linked = bool(document.get("dir_info", {}).get("editable"))
            found.append(Local(normal_name(name), unquote(url.removeprefix("file://")), linked))
    return sorted(found, key=lambda package: package.name)


def edited(venv: str, names: Sequence[str] | None) -> str | None:
    """The first file that was changed since an environment was built from it, as far as it is one of these packages (None: of any).

    The clock is that of the file systems: a file counts as changed when its inode was later than the environment's own
    pyvenv.cfg, which is older than all that was built into it.
    """
    try:
        built = os.stat(os.path.join(venv, "pyvenv.cfg")).st_mtime
        for package in local_packages(venv):
            if not package.linked and (names is None or package.name in names):
                for path in _files(package.path):
                    if os.stat(path).st_ctime >= built:
                        return path
    except (OSError, ValueError, KeyError):  # what is gone or damaged is for others to say
        return None
    return None


#: what a build leaves in the folder that it builds from
_LEFT = ("__pycache__", "build", "dist")


def _files(path: str) -> Iterable[str]:
    """The sources in a folder, or the file that it is."""
    if not os.path.isdir(path):
        yield path
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if not (name.startswith(".") or name in _LEFT or name.endswith(".egg-info"))]
        yield from (os.path.join(folder, name) for name in names if not name.endswith(".pyc"))


def _paths(venv: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "*.dist-info", _NAME))
