"""Where things lie in a pool (DESIGN: the pool on disk)."""

from __future__ import annotations

import os

from sharedenv.start.find_pool import MARKER
from sharedenv.values import frozen

FORMAT = 1  #: of a new pool
HOLDING = 2  #: of a pool that holds versions: an older sharedenv would resolve anew, and refuses
FORMATS = (FORMAT, HOLDING)
FOLDERS = ("envs", "keys", "index", "used", "versions", "locks", "failures", "logs", "tmp", "trash", "archives", "runs")
PARTS = (*FOLDERS, "packed")  #: the last is made when something is packed: an older sharedenv would not take its pool for a pool's own
#: how begins what is right inside a pool for a moment: files that are being written, a trial of the file system
UNFINISHED = (".CACHEDIR.TAG.", "..gitignore.", ".pool.json.", ".trial.")
UNFINISHED_RUN = ".new-"  #: in runs/: how the folder of a run begins that is being written
OVER = ".over"  #: in runs/: which of them are over (run/journal/living.py)
STANDING = "standing.json"  #: in a run: where it stood when it had ended (run/journal/kept.py)
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
        return os.path.join(self.path, MARKER)

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
    def versions(self) -> str:
        """What keys install, held: `<key>-<minor>.toml`."""
        return os.path.join(self.path, "versions")

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
    def packed(self) -> str:
        """One archive an environment that has left envs/ to save entries: `<identity>.<sha256>.tar.gz`."""
        return os.path.join(self.path, "packed")

    @property
    def runs(self) -> str:
        """One folder a run: its plan and its journal."""
        return os.path.join(self.path, "runs")


def is_part(name: str) -> bool:
    """Whether this is what a file or a folder right inside a pool is called."""
    return name in PARTS or name == MARKER or name.startswith(_FILES)
