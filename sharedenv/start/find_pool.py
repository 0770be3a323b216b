"""Which pool a script has: the nearest `.sharedenv/` above it, up to the edge of its project. Imports next to nothing (see environ).

The same script has the same pool from wherever it is called and whoever is named beside it: all pools above it count, one look
at each folder, and nothing but its own path decides among them.
"""

import posix

from sharedenv.start.access import IS_FOLDER, IS_LINK, KIND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER = ".sharedenv"
MARKER = "pool.json"  #: in a pool: which format it has, how it was made
EDGES = (".git", "uv.toml", "pyproject.toml", ".python-version")  #: what a project's own folder holds
_MANY = 500  # names: what a listing gives in one call of the kernel's
_BY_INIT = b'"init": true'  #: in pool.json of a pool that `sharedenv init` made


class Ancestors:
    """The pools above folders. Each folder is looked at once, however many scripts lie below it."""

    def __init__(self, environ: "Mapping[str, str]", planned: str | None = None) -> None:
        """``environ``: HOME is one of the folders whose pools are not found from below, as / and /tmp are: all projects lie there.

        ``planned``: the path of a pool that is about to be made, and counts as if it was there.
        """
        self._planned = planned
        self._crowded = {"", "/tmp", environ.get("HOME", "").rstrip("/")}
        self.links: dict[str, posix.stat_result] = {}  #: pool → what lstat says of it
        self._above: dict[str, tuple[str, ...]] = {}
        self._on_purpose: dict[str, bool] = {}
        self._places: dict[str, str] = {}

    def of_script(self, path: str) -> tuple[str, ...]:
        """Pools that a script (absolute path in normal form) may have, nearest first: above the path, else above where it lies."""
        folder = path.rpartition("/")[0]
        return self._pools(folder) or self._pools(_real(path).rpartition("/")[0] if _is_link(path) else self._real(folder))

    def of_folder(self, path: str) -> tuple[str, ...]:
        """The same for a folder, itself included."""
        folder = path.rstrip("/")
        return self._pools(folder) or self._pools(self._real(folder))

    def _real(self, folder: str) -> str:
        """Where a folder lies, links followed. Each is looked at once: `realpath` of 100,000 scripts takes seconds."""
        if folder not in self._places:
            above, _, name = folder.rpartition("/")
            self._places[folder] = _real(folder).rstrip("/") if _is_link(folder) else f"{self._real(above)}/{name}" if folder else ""
        return self._places[folder]

    def _pools(self, folder: str) -> tuple[str, ...]:
        if folder not in self._above:
            above = self._from_below(folder.rpartition("/")[0]) if folder else ()
            # only what the project's owner made on purpose reaches into the projects below it
            bounded = bool(above) and not all(map(self._made_by_init, above))
            names = _names_in(folder) if bounded else None
            if bounded and _is_edge(folder, names):
                above = tuple(filter(self._made_by_init, above))
            own = f"{folder}/{FOLDER}"
            link = _folder_or_link(own) if names is None or FOLDER in names else None
            if link:
                self.links[own] = link
            self._above[folder] = (own, *above) if link or own == self._planned else above
        return self._above[folder]

    def _made_by_init(self, pool: str) -> bool:
        if pool not in self._on_purpose:
            self._on_purpose[pool] = made_by_init(pool)
        return self._on_purpose[pool]

    def _from_below(self, folder: str) -> tuple[str, ...]:
        if folder not in self._crowded:
            return self._pools(folder)
        return self._from_below(folder.rpartition("/")[0]) if folder else ()


def _real(path: str) -> str:
    from os.path import realpath  # noqa: PLC0415 - nearly all pools are found without

    return realpath(path)


def _is_link(path: str) -> bool:
    try:
        return posix.lstat(path).st_mode & KIND == IS_LINK
    except OSError:
        return False


def made_by_init(pool: str) -> bool:
    """Whether `sharedenv init` made a pool."""
    try:
        descriptor = posix.open(f"{pool}/{MARKER}", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _BY_INIT in posix.read(descriptor, 4096)
    except OSError:
        return False
    finally:
        posix.close(descriptor)


def edge_above(folder: str) -> str | None:
    """The nearest folder, this one (absolute) included, that holds what a project's own folder holds; None for none."""
    folder = folder.rstrip("/")
    while not _is_edge(folder):
        if not folder:
            return None
        folder = folder.rpartition("/")[0]
    return folder or "/"


def _is_edge(folder: str, names: "set[str] | None" = None) -> bool:
    for name in EDGES:  # noqa: SIM110 - any() takes twice as long, and is asked for each of 100,000 folders
        if (names is None or name in names) and posix.access(f"{folder}/{name}", posix.F_OK):
            return True
    return False


def _names_in(folder: str) -> "set[str] | None":
    """The names in a folder, by one listing in place of a look for each; None where it has very many, or may not be listed."""
    names = set()
    try:
        with posix.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if len(names) > _MANY:
                    return None
    except OSError:
        return None
    return names


def lock_passed_over(scripts: "Iterable[str]", root: str) -> tuple[str, str] | None:
    """A script (absolute paths), and the folder of a sharedenv.lock between it and its project's root, where nobody would look at
    it; None for none. One look at each folder.
    """
    seen = {root}
    for script in scripts:
        folder = script.rpartition("/")[0]
        while folder not in seen and folder.startswith(root.rstrip("/") + "/"):
            if posix.access(f"{folder}/sharedenv.lock", posix.F_OK, follow_symlinks=False):
                return script, folder
            seen.add(folder)
            folder = folder.rpartition("/")[0]
    return None


def _folder_or_link(path: str) -> posix.stat_result | None:
    # a link counts wherever it leads: on a disk that is not mounted it is still the project's pool, and no other one is
    try:
        found = posix.lstat(path)
    except OSError:
        return None
    return found if found.st_mode & KIND in (IS_FOLDER, IS_LINK) else None
