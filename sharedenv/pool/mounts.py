"""File systems: which one a path lies on, and what its locks are worth to other nodes (proc(5), mountinfo)."""

from __future__ import annotations

import os
import re
from enum import Enum

from sharedenv.values import frozen


class Locks(Enum):
    """Whom a flock on a file system holds back."""

    ALL = "seen by every node"
    MACHINE = "seen by this machine, the only one that has the file system"
    BLIND = "not seen by other nodes, as far as is known"


#: no other machine sees what lies on these
_OF_THIS_MACHINE = frozenset(
    {"apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "jfs", "overlay", "ramfs", "reiserfs",
     "tmpfs", "vfat", "xfs", "zfs"}
)
#: flock reaches every node that mounts these
_OF_ALL = frozenset({"ceph", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs", "gfs2", "gpfs", "ocfs2", "wekafs"})


@frozen
class FileSystem:
    """The file system of a path: its type and its options (of the mount and of the file system), as the kernel names them."""

    type: str
    mount: str  # where it is mounted
    options: frozenset[str]

    @property
    def network(self) -> bool:
        """Whether other machines may have it too."""
        return self.type not in _OF_THIS_MACHINE

    @property
    def locks(self) -> Locks:
        """What a flock is worth here. What isn't known to reach other nodes counts as blind."""
        if self.type in _OF_THIS_MACHINE:
            return Locks.MACHINE
        if self.type in _OF_ALL:
            return Locks.ALL
        if self.type == "lustre":  # flock | localflock | noflock, mount.lustre(8)
            return Locks.ALL if "flock" in self.options else Locks.BLIND
        if self.type in ("nfs", "nfs4"):  # nfs(5)
            silent = self.options & {"nolock", "local_lock=all", "local_lock=flock"}
            return Locks.BLIND if silent else Locks.ALL
        if self.type in ("cifs", "smb3"):  # mount.cifs(8)
            return Locks.BLIND if self.options & {"nobrl", "nolock"} else Locks.ALL
        return Locks.BLIND


def file_system(path: str) -> FileSystem | None:
    """The file system that ``path`` lies on; None where the kernel doesn't tell (no /proc)."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return find_mount(file.read(), os.path.realpath(path))
    except OSError:
        return None


def find_mount(mountinfo: str, path: str) -> FileSystem | None:
    """The entry of a mountinfo under which an absolute path without links lies: the longest, and of those the last."""
    best: FileSystem | None = None
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if not separator or len(fields) < 6 or len(kind) < 3:
            continue
        mount = _unescape(fields[4])
        if (path == mount or path.startswith(mount.rstrip("/") + "/")) and (best is None or len(mount) >= len(best.mount)):
            best = FileSystem(kind[0], mount, frozenset([*fields[5].split(","), *kind[2].split(",")]))
    return best


def _unescape(field: str) -> str:
    # blanks and backslashes stand as octal numbers
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
