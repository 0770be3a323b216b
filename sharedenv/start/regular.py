"""Reading the files of a pool: regular files alone, never through a link, never more than a bound.

A purge, a slip of the pen or a colleague may have put anything in the place of a file. A pipe would make us wait for its writer,
a link to /dev/zero has no end, and a file with a hole of a terabyte fits in no memory. Imports next to nothing: every start asks.
"""

import _stat as stat
import errno
import posix

MB = 1 << 20
NOT_REGULAR = (errno.ELOOP, errno.EINVAL, errno.EISDIR)  #: what the errors say of anything else
SMALL = 16 * MB  #: bytes: more than any file of a pool has that tells of one environment, one process or one failure
MOST = 1024 * MB  #: bytes: more than a list of all that is in an environment, or in a run, has


def open_regular(path: str, flags: int = posix.O_RDONLY, *, follow: bool = False) -> int:
    """A descriptor of the regular file at ``path``, to be read; never waits. ``follow``: through a link, too.

    Raises OSError: where it is something else, its words say what.
    """
    flags |= posix.O_NONBLOCK | posix.O_CLOEXEC | (0 if follow else posix.O_NOFOLLOW)
    try:
        descriptor = posix.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "it is a link", path) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.EINVAL, "it is a socket", path) from None
        raise
    mode = posix.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        posix.close(descriptor)
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, f"it is {_kind(mode)}", path)
    return descriptor


def read_regular(path: str, most: int = SMALL, *, follow: bool = False) -> bytes:
    """The bytes of a regular file, ``most`` of them. Raises OSError, as open_regular does, and for a file that has more."""
    descriptor = open_regular(path, follow=follow)
    try:
        return read_bounded(descriptor, path, most)
    finally:
        posix.close(descriptor)


def read_bounded(descriptor: int, path: str, most: int) -> bytes:
    """The bytes of an open file from where it stands, ``most`` of them. Raises OSError where there are more."""
    size = posix.fstat(descriptor).st_size
    chunks: list[bytes] = []
    read = 0
    while size <= most and (chunk := posix.read(descriptor, max(size - read, 0) + 1)):
        chunks.append(chunk)
        read += len(chunk)
        size = max(size, read)
    if size > most:
        raise OSError(errno.EFBIG, f"it has more than {most // MB:,} MB", path)
    return b"".join(chunks)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device"
