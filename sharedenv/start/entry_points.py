"""Entry points, the commands that packages put into an environment's bin, name their Python by its path: that of the place the
environment was built for.

Where it stands elsewhere (a project that was moved or copied, a home that has another path on some node), others take their
place, in a folder in TMPDIR that comes first on PATH. The full way makes it, once a node (pool/entry_points). Imports next to
nothing (see environ), and is loaded only where the place differs.
"""

import posix
import time

from sharedenv.start.access import IS_FOLDER, KIND, noted_place
from sharedenv.start.environ import encoded
from sharedenv.start.fingerprint import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FRESH = 86400.0  # seconds: what cleans /tmp takes files that are older, one by one


def stands_elsewhere(manifest: bytes, environment: str) -> bool:
    """Whether the environment at this path is not at the place that its manifest notes, by whatever name."""
    place = noted_place(manifest)
    if place in ("", environment):
        return False
    try:
        there, here = posix.stat(place), posix.stat(environment)
    except OSError:
        return True
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def folder_for(manifest: bytes, environment: str, environ: "Mapping[str, str]") -> str:
    """Path of the folder on this node with entry points for the environment at this path, whether it is there or not."""
    base = environ.get("TMPDIR", "")
    if not base.startswith("/") or ":" in base or "\n" in base:  # PATH, or a shell's code, can't hold it
        base = "/tmp"
    digest = sha256(encoded(environment) + b"\0" + manifest).hexdigest()[:16]
    return f"{base.rstrip('/')}/sharedenv-{posix.geteuid()}-{digest}"


def is_ours(folder: str) -> "posix.stat_result | None":
    """What stat says of a folder that nobody else can have filled, or None: TMPDIR is often everybody's."""
    try:
        found = posix.lstat(folder)
    except OSError:
        return None
    ours = found.st_mode & KIND == IS_FOLDER and found.st_uid == posix.geteuid() and not found.st_mode & 0o077
    return found if ours else None


def is_ready(folder: str) -> bool:
    """Whether the folder can be used as it is: ours, and too young for what cleans TMPDIR to have taken some of it."""
    found = is_ours(folder)
    return found is not None and abs(time.time() - found.st_mtime) < _FRESH
