"""What was written is on the disk before a name leads to it.

File systems put names on disk long before what is in the files (ext4 keeps that back for half a minute): an environment that
was renamed and linked in time would be there after a power cut, with empty files in it.
"""

from __future__ import annotations

import errno
import os

from sharedenv.start.regular import open_regular

#: what is answered where a file or a folder can't be put on disk by itself; any other answer means that data is lost
_CAN_NOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def sync_descriptor(descriptor: int) -> None:
    """Puts an open file on disk, or which names a folder has; where a file system can't, without a word. Raises OSError."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CAN_NOT:
            raise


def sync_folder(path: str) -> None:
    """Puts on disk which names a folder has; where a file system refuses that, without a word. Raises OSError without the folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse it on folders
    finally:
        os.close(descriptor)


def sync_tree(root: str) -> None:
    """Puts all that is below a folder on disk; links are not followed. Raises OSError where some of it can't be written.

    By one call for its whole file system, syncfs(2): 0.1 s for 6,000 files, where one call for each takes a second. It may
    fail for files of others, too: then, and where there is no such call, each of ours is asked for.
    """
    if _sync_file_system(root):
        return
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                _sync_file(path)
        sync_folder(folder)


def _sync_file_system(path: str) -> bool:
    import ctypes  # noqa: PLC0415 - three milliseconds for what is built alone

    try:
        call = ctypes.CDLL(None).syncfs
    except (AttributeError, OSError):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return bool(call(descriptor) == 0)
    finally:
        os.close(descriptor)


def _sync_file(path: str) -> None:
    descriptor = open_regular(path)
    try:
        sync_descriptor(descriptor)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
