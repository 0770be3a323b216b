"""What a power cut has left of an environment whose files were not on the disk when it was published."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from sharedenv.pool.manifest import Manifest
from sharedenv.pool.mounts import file_system


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
