"""pyenv's shims on PATH: each start of one costs a tenth of a second of bash before its Python begins, and uv starts many.

So uv is given the folders of the Pythons themselves. What a shim stands for is what pyenv says: PYENV_VERSION, else the
nearest .python-version above the current folder, else the file `version` of pyenv's own folder; each names one or more
versions, of which the first that has a program of the shim's name is started. (pyenv's manual, "Version selection")
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping


def without_shims(environ: Mapping[str, str], folder: str) -> dict[str, str]:
    """``environ`` with the Pythons that the shims on its PATH stand for in ``folder`` in their place.

    Behind all else on PATH stand pyenv's other Pythons: what is there comes before what must be fetched.
    """
    entries = environ.get("PATH", "").split(os.pathsep)
    shims = {entry: os.path.dirname(entry) for entry in entries if _has_shims(entry)}
    if not shims:
        return dict(environ)
    path: list[str] = []
    for entry in entries:
        path += _chosen(shims[entry], environ, folder) if entry in shims else [entry]
    path += (bin_folder for root in shims.values() for bin_folder in _all(root) if bin_folder not in path)
    return {**environ, "PATH": os.pathsep.join(path)}


def _has_shims(entry: str) -> bool:
    return os.path.basename(entry) == "shims" and any(
        os.path.lexists(os.path.join(entry, name)) for name in ("python", "python3")
    ) and os.path.isdir(os.path.join(os.path.dirname(entry), "versions"))


def _chosen(root: str, environ: Mapping[str, str], folder: str) -> Iterator[str]:
    for name in (name.removeprefix("python-") for name in _names(root, environ, folder)):
        found = os.path.join(root, "versions", name, "bin")
        if os.path.isdir(found):
            yield found
        elif name != "system":  # a prefix: the newest that begins so
            yield from [other for other in _all(root) if f"/versions/{name}." in other][:1]


def _names(root: str, environ: Mapping[str, str], folder: str) -> list[str]:
    if given := environ.get("PYENV_VERSION"):
        return given.split(":")
    while True:
        if names := _words(os.path.join(folder, ".python-version")):
            return names
        if folder == (folder := os.path.dirname(folder)):
            return _words(os.path.join(root, "version"))


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return [word for line in file for word in line.partition("#")[0].split()]
    except OSError:
        return []


def _all(root: str) -> list[str]:
    """The bin folders of all CPythons, the newest first."""
    versions = os.path.join(root, "versions")
    try:
        names = [name for name in os.listdir(versions) if re.fullmatch(r"\d+\.\d+\.\d+", name)]
    except OSError:
        return []
    names.sort(key=lambda name: tuple(map(int, name.split("."))), reverse=True)
    return [os.path.join(versions, name, "bin") for name in names]
