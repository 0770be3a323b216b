"""A Python of this machine as uv would fetch it, a Python that is none, and pyenv's folders."""

from __future__ import annotations

import json
import os
import shlex
import sys
import sysconfig
import tarfile
from collections.abc import Sequence
from pathlib import Path

BASE = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSION = f"{MINOR}.{sys.version_info.micro}"


def wrapper(path: Path, *, marks: Path | None = None) -> Path:
    """A program that becomes this machine's Python and takes itself for what it was started as; ``marks``: a file it adds a line to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    note = f"echo started >> '{marks}'\n" if marks else ""
    path.write_text(f'#!/bin/bash\n{note}exec -a "$0" {shlex.quote(str(BASE))} "$@"\n')
    path.chmod(0o755)
    return path


def serve_python(folder: Path) -> dict[str, str]:
    """An archive as those that uv fetches, in which the Python of this machine is, and a list that names no other.

    Returns the variables with which uv takes it, and finds no other Python.
    """
    tree = folder / "archive" / "python"
    wrapper(tree / "bin" / BASE.name)
    for name in ("python", "python3"):
        (tree / "bin" / name).symlink_to(BASE.name)
    library = tree / "lib" / BASE.name
    library.mkdir(parents=True)
    for data in Path(sysconfig.get_path("stdlib")).glob("_sysconfigdata_*.py"):  # uv makes it fit the place; Debian has two
        (library / data.name).write_bytes(data.read_bytes())
    with tarfile.open(folder / "python.tar.gz", "w:gz") as archive:
        archive.add(tree, "python")
    return {
        "PATH": str(folder / "no-such-folder"),
        "UV_OFFLINE": "",
        "UV_PYTHON_DOWNLOADS": "",
        "UV_PYTHON_DOWNLOADS_JSON_URL": _catalogue(folder),
        "UV_PYTHON_INSTALL_DIR": str(folder / "fetched"),
    }


def _catalogue(folder: Path) -> str:
    machine = os.uname().machine
    numbers = dict(zip(("major", "minor", "patch"), sys.version_info[:3], strict=True))
    entry = {
        **numbers, "name": "cpython", "arch": {"family": machine, "variant": None}, "os": "linux", "libc": "gnu", "prerelease": "",
        "url": (folder / "python.tar.gz").as_uri(), "sha256": None, "variant": None, "build": "20240101",
    }
    (folder / "pythons.json").write_text(json.dumps({f"cpython-{VERSION}-linux-{machine}-gnu": entry}))
    return (folder / "pythons.json").as_uri()


def fetched(folder: Path) -> list[Path]:
    """What `serve_python` has served."""
    return sorted((folder / "fetched").glob("cpython-*"))


def make_pyenv(root: Path, versions: Sequence[str]) -> Path:
    """pyenv's folder with these versions, all of them this machine's Python, and shims that note in `root/started` that they were."""
    for version in versions:
        minor = version.rpartition(".")[0]
        wrapper(root / "versions" / version / "bin" / f"python{minor}")
        for name in ("python", "python3"):
            (root / "versions" / version / "bin" / name).symlink_to(f"python{minor}")
    for name in ("python", "python3", f"python{MINOR}"):
        wrapper(root / "shims" / name, marks=root / "started")
    return root
