"""Whether an environment is still what was built: a reason in words for the user, or None. `verify` looks at every byte; this doesn't.

But for what a power cut has left of one whose files were not on the disk when it was published.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator

from sharedenv.pool.manifest import Manifest
from sharedenv.pool.mounts import file_system
from sharedenv.process import capture
from sharedenv.start.access import INVENTORY, MANIFEST, OTHERS, identity
from sharedenv.start.fingerprint import sha256

#: the beginning of a program: the ``version`` of the Python that runs it, as manifests record it
VERSION = """\
import sys
version = "%d.%d.%d" % sys.version_info[:3]
if sys.version_info.releaselevel != "final":
    version += {"alpha": "a", "beta": "b", "candidate": "rc"}[sys.version_info.releaselevel] + str(sys.version_info.serial)
"""

_OWN = (MANIFEST, INVENTORY)


def health(path: str, manifest: Manifest) -> str | None:
    """Why the environment at ``path`` can't run here, or None. One stat; its Python is started only when its file has changed."""
    python = os.path.join(path, "bin", "python")
    recorded = manifest.interpreter
    try:
        found = os.stat(python)
    except PermissionError:  # in another user's home, say
        return f"its Python {recorded.path} can't be reached by you"
    except OSError:
        return f"its Python {recorded.path} is gone" if os.path.islink(python) else "its bin/python is gone"
    if not stat.S_ISREG(found.st_mode):
        return f"its Python {recorded.path} is no file"
    if identity(found) != recorded.identity:
        version = interpreter_version(python)
        if version is None:
            return f"its Python {recorded.path} does not start any more"
        if version != recorded.version:
            return f"its Python {recorded.path} was {recorded.version} and is {version} now"
    return glibc_fault(manifest.glibc, glibc_here())


def glibc_fault(needed: str, here: str) -> str | None:
    """Why compiled packages can't run on this machine's glibc, or None."""
    if needed and here and version_tuple(here) < version_tuple(needed):
        return f"it was built for glibc {needed}, and this machine has {here}"
    return None


def version_tuple(text: str) -> tuple[int, int]:
    """``2.36`` as (2, 36); (0, 0) for what is no version."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def glibc_here() -> str:
    """This machine's glibc, such as ``2.36``; "" where there is none."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError, AttributeError):
        return ""


def interpreter_version(python: str) -> str | None:
    """The version of an interpreter, asked of itself; None when it does not start."""
    try:
        done = capture([python, "-I", "-S", "-c", VERSION + "print(version)"], env=os.environ)
    except OSError:
        return None
    return done.stdout.strip() if done.status == 0 else None


def completeness(path: str, manifest: Manifest) -> str | None:
    """Why the environment at ``path`` is not whole, or None: entries gone (a purge) or added (an install into it).

    Folders are read and nothing is looked at one by one, but after a new start of the machine (see cut_short): cheap enough
    once a command on a parallel file system.
    """
    links: list[str] = []
    try:
        present = set(_names(path, links))
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    if entries_digest(present) == manifest.entries:
        # links into a cache, which link-mode symlink has made before it was refused
        dangling = sorted(name for name in links if not os.path.exists(os.path.join(path, name)))
        return _difference(dangling, "gone") or cut_short(path, manifest)
    from sharedenv.pool.inventory import InventoryError, read_inventory  # noqa: PLC0415 - what is whole needs no list of its files

    try:
        recorded = read_inventory(path, manifest.inventory)
    except InventoryError as error:
        return str(error)
    expected = set(without_bytecode([*recorded.files, *recorded.links, *recorded.directories]))
    gone, added = sorted(expected - present), sorted(present - expected)
    return _difference(gone, "gone") or _difference(added, "there that it was not built with")


def openness(path: str) -> str | None:
    """Which package of the environment at ``path`` others may change, in words, or None.

    One file of each is looked at: those of a package have the modes of the one process that has unpacked it into uv's cache.
    """
    for python in _listed(os.path.join(path, "lib")):
        site = os.path.join(path, "lib", python, "site-packages")
        for name in _listed(site):
            if name.endswith(".dist-info"):
                try:
                    found = os.lstat(os.path.join(site, name, "METADATA"))
                except OSError:
                    continue  # completeness tells of it
                if found.st_mode & OTHERS:
                    return f"others may write into its {name.removesuffix('.dist-info')}"
    return None


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def entries_digest(names: Iterable[str]) -> str:
    """The digest of the names of an environment's entries, relative to it."""
    return "sha256:" + sha256("\0".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest()


def without_bytecode(names: Iterable[str]) -> Iterable[str]:
    """Names without bytecode caches: Python may add to them (root ignores modes) and does without what is purged."""
    return (name for name in names if not f"/{name}/".count("/__pycache__/"))


def _names(root: str, links: list[str]) -> Iterable[str]:
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name == "__pycache__" or name in _OWN:
                    continue
                yield name
                if entry.is_symlink():
                    links.append(name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(name)


def _difference(names: list[str], what: str) -> str | None:
    if not names:
        return None
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{names[0]}{more} {'are' if more else 'is'} {what}"


def cut_short(path: str, manifest: Manifest) -> str | None:
    """Which file of an environment, or of a copy of one, a power cut has emptied, in words, or None.

    Sizes are compared where this machine was started anew since the build, on a disk of its own: an older sharedenv did not
    see to it that files were on disk, nor does `stage`, and disks lie. Bytecode is left out: Python does without.
    """
    if manifest.built >= _machine_started() or (system := file_system(path)) is None or system.network:
        return None
    from sharedenv.pool.inventory import InventoryError, read_inventory  # noqa: PLC0415 - only after a new start

    try:
        recorded = read_inventory(path, manifest.inventory)
    except InventoryError as error:
        return str(error)
    return _told(list(_other_sizes(path, {name: size for name, (size, _) in recorded.files.items() if "/__pycache__/" not in name})))


def _other_sizes(path: str, recorded: dict[str, int]) -> Iterator[str]:
    for name, size in recorded.items():
        try:
            found = os.lstat(os.path.join(path, name)).st_size
        except OSError:
            continue  # it was there a moment ago, and is missed by who looks at names
        # entry points of a staged copy name another place, and have another length
        if found != size and not (found and name.startswith("bin/")):
            yield name


def _told(names: list[str]) -> str | None:
    if not names:
        return None
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{names[0]}{more} {'have' if more else 'has'} another size than built: the machine was cut off while they were written"


def _machine_started() -> float:
    """Seconds since the epoch; 0.0 where the machine doesn't tell."""
    try:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return 0.0
