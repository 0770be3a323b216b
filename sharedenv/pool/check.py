"""What a staged environment must pass before it may be published: a killed or quota-struck install can look whole to uv."""

from __future__ import annotations

import base64
import binascii
import glob
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping

from sharedenv.pool.health import version_tuple
from sharedenv.pool.inventory import Inventory
from sharedenv.pool.manifest import Package
from sharedenv.start.access import OTHERS
from sharedenv.start.regular import MOST, read_regular
from sharedenv.start.trust import ROOT
from sharedenv.values import frozen

_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_")
#: the names that came before manylinux_X_Y (PEP 600): the glibc each of them stands for
_LEGACY = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}


@frozen
class Contents:
    """Every entry below an environment, once: files (links included) with their sizes in bytes, folders."""

    files: Mapping[str, int]  # relative path → size
    directories: tuple[str, ...]  # relative paths, parents first; the environment itself is not among them
    exposed: tuple[str, ...] = ()  # files and folders that others than its owner, and root, may write

    @property
    def bytes(self) -> int:
        """The sum of the sizes."""
        return sum(self.files.values())


@frozen
class Recorded:
    """One row of a RECORD: where the file is, its size, and its sha256 in hex ("" where the row has none)."""

    path: str
    size: int
    sha256: str


def read_contents(root: str) -> Contents:
    """Walks the tree below ``root``; links are not followed."""
    owners = (os.stat(root).st_uid, ROOT)
    files: dict[str, int] = {}
    directories: list[str] = []
    exposed: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                found = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    directories.append(path)
                    pending.append(path)
                else:
                    files[path] = found.st_size
                if (found.st_mode & OTHERS or found.st_uid not in owners) and not stat.S_ISLNK(found.st_mode):
                    exposed.append(path)
    return Contents(files, tuple(directories), tuple(exposed))


def installed_packages(contents: Contents) -> tuple[Package, ...]:
    """The distributions installed, by name, from the names of their folders (PyPA's "recording installed projects")."""
    found = []
    for path in contents.directories:
        stem, dot, _ = path.rpartition(".dist-info")
        if dot and path.endswith(".dist-info") and "site-packages/" in path:
            name, _, version = os.path.basename(stem).partition("-")
            found.append(Package(normal_name(name), version))
    return tuple(sorted(found, key=lambda package: package.name))


def normal_name(name: str) -> str:
    """The name of a distribution in the normal form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_records(root: str, contents: Contents) -> Iterator[Recorded]:
    """The rows of every RECORD (the binary distribution format's list of what was installed).

    Bytecode is left out: installers may leave it out themselves.
    """
    import csv  # noqa: PLC0415 - a run reads no RECORD

    for record in (path for path in contents.files if path.endswith(".dist-info/RECORD")):
        site = os.path.dirname(os.path.dirname(record))
        text = read_regular(os.path.join(root, record), MOST, follow=True).decode()
        for row in csv.reader(io.StringIO(text, newline="")):
            if row and not row[0].endswith(".pyc") and not os.path.isabs(row[0]):
                size = int(row[2]) if len(row) > 2 and row[2].isdigit() else 0
                yield Recorded(os.path.normpath(os.path.join(site, row[0])), size, _hex(row[1] if len(row) > 1 else ""))


def missing_entries(root: str, contents: Contents) -> list[str]:
    """Files that a RECORD names and that are absent or cut to nothing."""
    missing = []
    for recorded in read_records(root, contents):
        size = contents.files.get(recorded.path)
        if size is None or (size == 0 and recorded.size > 0):
            missing.append(recorded.path)
    return missing


def altered_entries(root: str, contents: Contents, inventory: Inventory) -> list[str]:
    """Files whose content is not what their wheel says: uv's cache, whose inodes they share, may have been edited."""
    return [
        recorded.path
        for recorded in read_records(root, contents)
        if recorded.sha256
        and (found := inventory.files.get(recorded.path)) is not None
        and found[1] != recorded.sha256
    ]


def required_glibc(root: str, contents: Contents, here: str) -> str:
    """The oldest glibc (such as ``2.28``) that the compiled packages run on, by the tags of their wheels; "" when none is compiled.

    What was built on this machine (a tag without manylinux) needs the glibc that is ``here``.
    """
    needed = (0, 0)
    for path in (path for path in contents.files if path.endswith(".dist-info/WHEEL")):
        lines = read_regular(os.path.join(root, path), follow=True).decode(errors="replace").splitlines()
        tags = [line.partition(":")[2].strip() for line in lines if line.startswith("Tag:")]
        platforms = [tag.split("-", 2)[2] for tag in tags if tag.count("-") >= 2]
        if platforms and all("linux" in platform for platform in platforms):
            # a wheel with several tags runs wherever one of them does
            needed = max(needed, min(_glibc(platform, here) for platform in platforms))
    return ".".join(map(str, needed)) if needed > (0, 0) else ""


def _glibc(platform: str, here: str) -> tuple[int, int]:
    choices = [(int(major), int(minor)) for major, minor in _MANYLINUX.findall(platform)]
    choices += [version for name, version in _LEGACY.items() if name in platform]
    return min(choices) if choices else version_tuple(here)


def _hex(field: str) -> str:
    name, _, value = field.partition("=")
    if name != "sha256":
        return ""
    try:
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (ValueError, binascii.Error):
        return ""
    return raw.hex() if len(raw) == hashlib.sha256().digest_size else ""


def clear_bytecode(venv: str) -> None:
    """Takes away the bytecode of modules right in site-packages, which uv leaves when it replaces them.

    Of a module that was replaced within one second by one of the same length, Python and uv hold the old bytecode for the new.
    """
    for folder in glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "__pycache__")):
        with os.scandir(folder) as entries:
            for path in [entry.path for entry in entries]:
                os.unlink(path)
