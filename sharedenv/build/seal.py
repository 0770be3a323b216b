"""The last steps on a staged environment: its manifest and inventory are written, its folders made read-only."""

from __future__ import annotations

import getpass
import os
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sharedenv.key.payload import Payload
from sharedenv.pool.check import Contents, required_glibc
from sharedenv.pool.entry_points import place_entry_points
from sharedenv.pool.files import private
from sharedenv.pool.health import entries_digest, without_bytecode
from sharedenv.pool.inventory import Inventory, digest, take_inventory
from sharedenv.pool.manifest import Interpreter, Manifest, Package
from sharedenv.start.access import INVENTORY, MANIFEST, OTHERS, identity, noted_place
from sharedenv.start.regular import read_regular
from sharedenv.values import frozen


@frozen
class Probed:
    """What the Python of a fresh environment tells of itself."""

    path: str  # of the base interpreter, links resolved
    version: str
    implementation: str
    libc: str  # such as "glibc 2.36", "" where unknown


@frozen
class Installed:
    """An environment as uv left it, complete and hashed."""

    venv: str  # its path in the staging folder
    probed: Probed
    packages: tuple[Package, ...]
    contents: Contents
    inventory: Inventory


@frozen
class Circumstances:
    """How an environment came about, for its manifest.

    uv       version
    started  seconds since the epoch
    scripts  the first that it was built for, as they stand in the manifest; ``scripts_count``: of how many
    notes    what of the user's configuration was needed
    shared   the group may read all of it
    """

    uv: str
    started: float
    scripts: tuple[str, ...]
    scripts_count: int
    notes: Mapping[str, Any]
    shared: bool


def seal(installed: Installed, payload: Payload, how: Circumstances, place: str) -> str:
    """Makes an environment ready for the place where it will be, and returns its path in the staging folder. Raises OSError.

    Its entry points are written for that place, then inventory and manifest, and its folders are made read-only, the top one
    aside. It may be called again for another place. Files keep their modes: they are uv's cache, but for the copies in a pool
    that is shared, and of what others may write.
    """
    installed, noted = _placed(installed, place)
    venv, contents, inventory = installed.venv, installed.contents, installed.inventory
    data = inventory.to_json()
    _write(os.path.join(venv, INVENTORY), data)
    probed = installed.probed
    manifest = Manifest(
        payload=payload,
        interpreter=Interpreter(
            probed.path, probed.version, probed.implementation, identity(os.stat(os.path.join(venv, "bin", "python")))
        ),
        packages=installed.packages,
        uv=how.uv,
        libc=probed.libc,
        glibc=required_glibc(venv, contents, probed.libc.removeprefix("glibc ")),
        host=os.uname().nodename,
        user=_user(),
        built=time.time(),
        seconds=round(time.time() - how.started, 3),
        bytes=contents.bytes,
        files=len(contents.files),
        directories=len(contents.directories),
        entries=entries_digest(without_bytecode([*contents.files, *contents.directories])),
        inventory=digest(data),
        scripts=how.scripts,
        scripts_count=how.scripts_count,
        notes={**how.notes, **noted},
    )
    _write(os.path.join(venv, MANIFEST), manifest.to_json().encode())
    if how.shared:
        _open_to_group(venv, contents)
    top = stat.S_IMODE(os.stat(venv).st_mode) | (0o050 if how.shared else 0)
    for directory in reversed(contents.directories):
        os.chmod(os.path.join(venv, directory), top & 0o555)
    os.chmod(venv, top & 0o755)  # the move into envs/ needs it writable; nobody else may write meanwhile
    return venv


def _placed(installed: Installed, place: str) -> tuple[Installed, dict[str, str]]:
    """The same with its entry points written for a place, and what its manifest notes of that."""
    venv, contents, inventory = installed.venv, installed.contents, installed.inventory
    before = ""
    if os.path.exists(path := os.path.join(venv, MANIFEST)):  # it was sealed for a place that somebody else took
        before = noted_place(read_regular(path))
        for directory in contents.directories:
            os.chmod(os.path.join(venv, directory), 0o755)
    changed = place_entry_points(venv, place, before)
    files = take_inventory(venv, changed, ()).files
    placed = replace(
        installed,
        contents=replace(contents, files={**contents.files, **{name: size for name, (size, _) in files.items()}}),
        inventory=replace(inventory, files={**inventory.files, **files}),
    )
    return placed, {"place": place} if changed else {}


def take_private(path: str) -> None:
    """Sees to it that nobody else may change a file or a folder of a staged environment.

    A file of uv's cache stays as it is, with whoever may edit it (a cache filled under a lax umask): a copy takes its place.
    """
    found = os.lstat(path)
    mode = stat.S_IMODE(found.st_mode) & ~OTHERS
    if stat.S_ISDIR(found.st_mode) or (found.st_nlink == 1 and found.st_uid == os.geteuid()):
        os.chmod(path, mode)
        return
    copy = path + ".sharedenv"
    shutil.copy2(path, copy)
    os.chmod(copy, mode)
    os.replace(copy, path)


def _open_to_group(venv: str, contents: Contents) -> None:
    for path in [*contents.files, MANIFEST, INVENTORY]:
        found = os.lstat(full := os.path.join(venv, path))
        # a file with a second name is uv's cache too: its mode is not ours to change
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            mode = stat.S_IMODE(found.st_mode) & 0o755
            os.chmod(full, mode | 0o040 | (0o010 if mode & 0o100 else 0))


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", opener=private) as file:
        file.write(data)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user without an entry in passwd
