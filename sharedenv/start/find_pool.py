"""Which pool a script has: the nearest `.sharedenv/` above it. Imports next to nothing (see environ)."""

import _stat as stat
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

FOLDER = ".sharedenv"


def find_pool(paths: "Collection[str]", here: str) -> str | None:
    """The pool of these scripts: the nearest `.sharedenv/` above the folder that they share, then above ``here``; or None.

    All paths are absolute and in normal form.
    """
    return (nearest_above(_shared_folder(paths)) if paths else None) or nearest_above(here)


def nearest_above(folder: str) -> str | None:
    """The nearest `.sharedenv/` in this folder (absolute) or above it, or None.

    A link counts wherever it leads: on a disk that is not mounted it is still the project's pool, and no other one is.
    """
    folder = folder.rstrip("/")
    while not _is_folder_or_link(candidate := f"{folder}/{FOLDER}"):
        if not folder:
            return None
        folder = folder.rpartition("/")[0]
    return candidate


def _shared_folder(paths: "Collection[str]") -> str:
    # what the first and the last in the order of their letters share, all between them share
    first, last = min(paths), max(paths)
    end = next((position for position, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:end].rpartition("/")[0]


def _is_folder_or_link(path: str) -> bool:
    try:
        mode = posix.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
