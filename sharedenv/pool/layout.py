"""Where things lie in a pool (DESIGN: the pool on disk), and where the pool of a project is."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.frozen import frozen
from sharedenv.pool.place import FOLDER, nearest_above

FORMAT = 1
FOLDERS = ("envs", "keys", "index", "used", "locks", "failures", "logs", "tmp", "trash", "archives", "runs")
UNFINISHED = (".CACHEDIR.TAG.", "..gitignore.", ".pool.json.")  #: how files begin that are being written right inside a pool
_FILES = ("CACHEDIR.TAG", ".gitignore", *UNFINISHED)  #: how the rest in a pool begins


@frozen
class Layout:
    """The paths of one pool; ``path`` is the folder `.sharedenv` itself, absolute. Nothing is read or made here."""

    path: str

    @property
    def root(self) -> str:
        """The project's root: the pool's parent."""
        return os.path.dirname(self.path)

    @property
    def marker(self) -> str:
        """pool.json: format version; its presence makes the folder a pool."""
        return os.path.join(self.path, "pool.json")

    @property
    def envs(self) -> str:
        """The environments."""
        return os.path.join(self.path, "envs")

    @property
    def keys(self) -> str:
        """key → its published environment, symbolic links."""
        return os.path.join(self.path, "keys")

    @property
    def index(self) -> str:
        """fingerprint → environment, symbolic links."""
        return os.path.join(self.path, "index")

    @property
    def used(self) -> str:
        """One empty file an environment: its time is the last use."""
        return os.path.join(self.path, "used")

    @property
    def locks(self) -> str:
        """One lease a key while it is built."""
        return os.path.join(self.path, "locks")

    @property
    def failures(self) -> str:
        """The last failed build of a key, as JSON."""
        return os.path.join(self.path, "failures")

    @property
    def logs(self) -> str:
        """uv's own words, one file a key."""
        return os.path.join(self.path, "logs")

    @property
    def tmp(self) -> str:
        """Staging folders of builds."""
        return os.path.join(self.path, "tmp")

    @property
    def trash(self) -> str:
        """What is on its way out: renamed here first, deleted then."""
        return os.path.join(self.path, "trash")

    @property
    def archives(self) -> str:
        """One archive an environment that has been staged: `<identity>.<sha256>.tar`."""
        return os.path.join(self.path, "archives")

    @property
    def runs(self) -> str:
        """One folder a run: its plan and its journal."""
        return os.path.join(self.path, "runs")


def find_pool(option: str | None, environ: Mapping[str, str], scripts: Sequence[str], cwd: str) -> Layout | None:
    """The pool to use: --pool, SHAREDENV_POOL, the nearest `.sharedenv/` above the scripts' common folder, then above ``cwd``.

    ``scripts`` are absolute. None when there is none yet. Raises SharedenvError when what was named can't be one.
    """
    if chosen := option or environ.get("SHAREDENV_POOL"):
        return Layout(_named(os.path.normpath(os.path.join(cwd, chosen))))
    # what the first and the last in the order of their bytes share, all between them share
    ends = (min(scripts), max(scripts)) if scripts else ()
    starts = [os.path.commonpath([os.path.dirname(path) for path in ends])] if ends else []
    for start in [*starts, cwd]:
        if found := nearest_above(start):
            return Layout(found)
    return None


def is_part(name: str) -> bool:
    """Whether this is what a file or a folder right inside a pool is called."""
    return name in FOLDERS or name == "pool.json" or name.startswith(_FILES)


def _named(path: str) -> str:
    """The pool that a path stands for: the pool itself, the `.sharedenv` in a project's folder, or where a new one goes.

    No pool is made among other people's files. Raises SharedenvError.
    """
    inside = os.path.join(path, FOLDER)
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return path
    except OSError as error:
        raise SharedenvError(
            f"{path} can't be a pool", cause=error.strerror, hint=f"ls -ld {shlex.quote(path)}", exit_code=EXIT_USAGE
        ) from None
    if "pool.json" in names or os.path.basename(path) == FOLDER:
        return path
    if os.path.isdir(inside):
        return inside
    # what holds nothing but a pool's own folders is one that is being made, or was purged
    if all(map(is_part, names)):
        return path
    raise SharedenvError(
        f"{path} is a folder with other files in it, and no pool",
        cause=f"a pool of its own would go into {inside}",
        hint=f"sharedenv --pool {shlex.quote(inside)} build 'case*/script.py'",
        exit_code=EXIT_USAGE,
    )


def place_pool(scripts: Sequence[str], cwd: str) -> Layout:
    """Where a new pool goes: the current folder, when every script lies below it. Raises SharedenvError otherwise."""
    outside = [path for path in scripts if os.path.commonpath([path, cwd]) != cwd]
    if outside:
        raise SharedenvError(
            "no pool found, and none can be made here",
            cause=f"{outside[0]} does not lie below the current folder {cwd}",
            hint=_build_above(scripts),
            exit_code=EXIT_USAGE,
        )
    return Layout(os.path.join(cwd, FOLDER))


def _build_above(scripts: Sequence[str]) -> str:
    """The command that builds for these scripts, with a pool in the nearest folder above all of them."""
    common = os.path.commonpath([os.path.dirname(path) for path in scripts])
    names = {os.path.basename(path) for path in scripts}
    pattern = os.path.join(common, "**", names.pop() if len(names) == 1 else "*.py")
    return shlex.join(["sharedenv", "--pool", os.path.join(common, FOLDER), "build", *(scripts if len(scripts) == 1 else [pattern])])
