"""What a staged environment must pass before it may be published: a killed or quota-struck install can look whole to uv."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution."""

    name: str  # normal form of PEP 503
    version: str


@dataclass(frozen=True, slots=True)
class Contents:
    """Every entry below an environment, once: files (links included) with their sizes in bytes, folders."""

    files: Mapping[str, int]  # relative path → size
    directories: tuple[str, ...]  # relative paths, parents first; the environment itself is not among them

    @property
    def bytes(self) -> int:
        """The sum of the sizes."""
        return sum(self.files.values())


def read_contents(root: str) -> Contents:
    """Walks the tree below ``root``; links are not followed."""
    files: dict[str, int] = {}
    directories: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    directories.append(path)
                    pending.append(path)
                else:
                    files[path] = entry.stat(follow_symlinks=False).st_size
    return Contents(files, tuple(directories))


def installed_packages(contents: Contents) -> tuple[Package, ...]:
    """The distributions installed, by name, from the names of their folders (PyPA's "recording installed projects")."""
    found = []
    for path in contents.directories:
        stem, dot, _ = path.rpartition(".dist-info")
        if dot and path.endswith(".dist-info") and "site-packages/" in path:
            name, _, version = os.path.basename(stem).partition("-")
            found.append(Package(name.lower().replace("_", "-").replace(".", "-"), version))
    return tuple(sorted(found, key=lambda package: package.name))


def missing_entries(root: str, contents: Contents) -> list[str]:
    """Files that a RECORD names (the binary distribution format's list of what was installed) and that are absent or cut to nothing.

    Bytecode is exempt: installers may leave it out.
    """
    missing = []
    for record in (path for path in contents.files if path.endswith(".dist-info/RECORD")):
        site = os.path.dirname(os.path.dirname(record))
        with open(os.path.join(root, record), encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                if not row or row[0].endswith(".pyc") or os.path.isabs(row[0]):
                    continue
                path = os.path.normpath(os.path.join(site, row[0]))
                size = contents.files.get(path)
                recorded = int(row[2]) if len(row) > 2 and row[2].isdigit() else 0
                if size is None or (size == 0 and recorded > 0):
                    missing.append(path)
    return missing
