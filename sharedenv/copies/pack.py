"""An environment of the pool becomes one compressed archive in packed/, and the environment again: without uv, or a resolution.

It comes back under its own name where that is free, so that its entry points fit. Before an archive has its name it is on disk,
and before it goes the environment is. Whoever is killed in between leaves both, and the environment counts.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from sharedenv.copies.archive import Archive, Damaged, write_compressed
from sharedenv.copies.unpack import open_archive, unpack_alone
from sharedenv.key.payload import Payload
from sharedenv.pool.create import make_packed
from sharedenv.pool.files import private, readable_as, sync_descriptor, sync_folder
from sharedenv.pool.health import completeness, health
from sharedenv.pool.inventory import Inventory, InventoryError, read_inventory
from sharedenv.pool.layout import Layout
from sharedenv.pool.lease import try_lease
from sharedenv.pool.manifest import Manifest, read_manifest
from sharedenv.pool.packed import Packed, all_packed, find_packed
from sharedenv.pool.staging import VENV, staging
from sharedenv.pool.store import Environment, publish, published
from sharedenv.start.access import SHORT, note_use
from sharedenv.start.staged import identity


def pack(layout: Layout, path: str, manifest: Manifest, last_use: float) -> Archive:
    """Writes the archive of the environment at this path, whose last use (seconds since the epoch) it notes; nothing is taken away.

    Who calls it holds the lease on the key. Raises Damaged where the environment can't be packed, OSError.
    """
    recorded = _packable(path, manifest)
    make_packed(layout)
    with staging(layout, manifest.payload.key) as folder:
        temporary = os.path.join(folder, "archive.tar.gz")
        with open(temporary, "xb", opener=private) as file:
            digest = write_compressed(path, file, recorded)
            file.flush()
            os.utime(file.fileno(), (last_use, last_use))
            sync_descriptor(file.fileno())
        readable_as(temporary, layout.packed)
        archive = Archive(os.path.join(layout.packed, f"{identity(path)}.{digest}.tar.gz"), digest)
        os.rename(temporary, archive.path)
    sync_folder(layout.packed)
    for other in all_packed(layout, manifest.payload.key[:SHORT]):  # of builds before, which kills have left
        if other.manifest is not None and other.manifest.payload.key == manifest.payload.key and other.path != archive.path:
            forget_packed(other.path)
    return archive


def _packable(path: str, manifest: Manifest) -> Inventory:
    if fault := completeness(path, manifest):
        raise Damaged(fault)
    try:
        recorded = read_inventory(path, manifest.inventory)
    except InventoryError as error:
        raise Damaged(str(error)) from None
    if away := recorded.elsewhere:
        raise Damaged(f"{len(away):,} of its files are links, and as good as what is in {os.path.commonpath(away.values())}")
    return recorded


def bring_back(layout: Layout, payload: Payload, fits: Callable[[Manifest], bool]) -> Environment | None:
    """Unpacks the environment of a payload into the pool and publishes it; None where none is packed.

    ``fits``: whether it is one that may be published now, by its manifest. Who calls it holds the lease on the key. Raises Damaged
    where an archive is none that can be used, OSError.
    """
    for packed in find_packed(layout, payload):
        if packed.manifest is not None and fits(packed.manifest):
            with staging(layout, payload.key) as folder:
                venv = _unpacked(packed, layout.path, os.path.join(folder, VENV))
                number = int(packed.name[SHORT + 1 :])
                environment = publish(layout, partial(_staged, venv), payload, replace=False, number=number)
            note_use(layout.path, environment.path)
            forget_packed(packed.path)
            return environment
    return None


def _staged(venv: str, _place: str) -> str:
    return venv


def _unpacked(packed: Packed, pool: str, venv: str) -> str:
    os.mkdir(venv, 0o700)
    unpack_alone(Archive(packed.path, packed.digest), pool, venv)
    manifest = read_manifest(venv)
    if fault := health(venv, manifest) or completeness(venv, manifest):
        raise Damaged(f"is of no use: {fault}")
    # as the folders in it are; the move into envs/ needs it writable
    os.chmod(venv, stat.S_IMODE(os.stat(os.path.join(venv, "bin")).st_mode) | 0o200)
    return venv


def packed_fault(packed: Packed, pool: str) -> str | None:
    """Why the archive of a packed environment can't be used, in words, or None; each byte of it is read."""
    try:
        open_archive(Archive(packed.path, packed.digest), pool).close()
    except Damaged as error:
        return f"its archive {error}"
    except OSError as error:
        return f"its archive can't be read: {error.strerror}"
    return None if packed.manifest is not None else packed.doubt or "its archive is damaged: it does not begin with its manifest"


def superseded(layout: Layout) -> Iterator[str]:
    """The archives of environments that are in the pool: of those a kill has left, or an older sharedenv has built past them."""
    for each in all_packed(layout):
        if each.manifest is not None and _is_there(layout, each.manifest.payload.key):
            yield each.path


def remove_superseded(layout: Layout, path: str) -> None:
    """Removes such an archive, unless its environment is being packed at this moment. Raises OSError."""
    for each in all_packed(layout, os.path.basename(path)):
        if each.manifest is not None:
            with try_lease(layout, each.manifest.payload.key) as holder:
                if holder is None and _is_there(layout, each.manifest.payload.key):
                    os.unlink(path)


def _is_there(layout: Layout, key: str) -> bool:
    path = published(layout, key)
    return path is not None and os.path.isdir(path)


def forget_packed(path: str) -> None:
    """Removes an archive. Never fails: where its environment is in the pool, prune takes it."""
    with contextlib.suppress(OSError):
        os.unlink(path)
