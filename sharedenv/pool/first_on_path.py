"""What comes before an environment's bin on PATH, asked by the full way of all who start scripts. It loads next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sharedenv.start.access import noted_place, read_open
from sharedenv.start.entry_points import folder_for, is_ready, stands_elsewhere


def first_on_path(
    descriptor: int, environment: str, used: str, environ: Mapping[str, str], tell: Callable[[str], None]
) -> str | None:
    """The folder with entry points for an environment that stands elsewhere than where it was built; None where it needs none.

    descriptor  of its manifest
    used        the path that scripts are run from: that of its copy on this node, or its own
    tell        is told where it needs a folder and can have none
    """
    manifest = read_open(descriptor)
    if used != environment or not stands_elsewhere(manifest, environment):
        return None
    folder, place = folder_for(manifest, environment, environ), noted_place(manifest)
    if is_ready(folder):
        return folder
    from sharedenv.pool.entry_points import make_folder  # noqa: PLC0415 - needed once a node

    try:
        make_folder(folder, environment, place)
    except OSError as error:
        tell(f"commands of packages may not start: they were written for {place}, and can't be written to {folder}: {error.strerror}")
        return None
    return folder
