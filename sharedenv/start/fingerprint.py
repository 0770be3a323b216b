"""Raw bytes → fingerprint: the fast way in. Equal fingerprints have equal keys; different ones may, too.

A fingerprint is sha256 over length-prefixed raw bytes: all that a key can depend on, nothing parsed. What makes a
difference only sometimes is in whenever it might. Imports next to nothing (see environ): each of thousands of starts pays for it.
"""

import posix
import sys

from sharedenv import __version__
from sharedenv.start.environ import encoded, platform_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from hashlib import sha256
else:
    # the one that Python has built in: loading OpenSSL's, as hashlib does, takes longer than the digests of a thousand scripts
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256
    except ImportError:  # a Python built without it
        from hashlib import sha256

__all__ = ["fingerprint", "fingerprint_with", "lock_owner", "may_be_bound", "read_bytes", "read_script", "sha256", "surroundings"]

#: variables that choose the configuration: kept from uv, and yet they count
_CHOOSERS = ("UV_CONFIG_FILE", "UV_NO_CONFIG")
_MOST = 1 << 24  # bytes of a configuration or a lock file, as start/regular.py has it: what has more the full way refuses


def surroundings(root: str, environ: "Mapping[str, str]", python: str | None = None) -> bytes | None:
    """All outside a script that a key can depend on, as a digest: once for any number of scripts of one call.

    ``root`` is the project's root, ``python`` the --python option. None when a file can't be read: the full way then
    says why. File-system calls: one open for each of .python-version, uv.toml, pyproject.toml and the files that
    variables name, and of sharedenv.lock.
    """
    parts = [__version__.encode(), platform_tag().encode(), encoded(root)]
    try:
        request = python or environ.get("SHAREDENV_PYTHON") or environ.get("UV_PYTHON")
        parts.append(encoded(request) if request else b"")
        parts.append(_place_of(request) if request else b"")
        parts.append(_read(root + "/.python-version") if not request else b"")
        parts += _variables(environ)
        parts += _configuration(root, environ)
        if locked := _read_lock(root + "/sharedenv.lock"):
            parts.append(b"lock" + locked)
    except OSError:
        return None
    return _digest(parts)


def _place_of(request: str) -> bytes:
    """Of a request that may be a path, where it starts; a bare name is one where such a folder is."""
    if request[0] == "/" or request[0] in "0123456789<>=!~":
        return b""
    here = encoded(posix.getcwd())
    if "/" in request or request[0] == ".":
        return here
    try:
        posix.stat(request)
    except FileNotFoundError:
        return b""
    return here


def fingerprint(around: bytes, block: bytes, path: str, *, linked: bool = False) -> str | None:
    """The fingerprint (64 hex digits) of one script: its raw metadata block and its absolute path, in its surroundings.

    ``linked``: the path is a symbolic link. None when its lock file can't be read. File-system calls: one open, of `<script>.lock`.
    """
    try:
        if linked:
            path = lock_owner(path)
        lock = _read(path + ".lock")
    except OSError:
        return None
    return _fingerprint(around, block, path, lock)


def lock_owner(link: str) -> str:
    """The path that a script's lock file lies beside, where the script is a symbolic link (absolute path).

    The link's own; or that of the file it leads to, where only that has one. Raises OSError.
    """
    from os.path import lexists, realpath  # noqa: PLC0415 - few scripts are links

    if lexists(link + ".lock"):
        return link
    leads_to = realpath(link)
    return leads_to if lexists(leads_to + ".lock") else link


def fingerprint_with(around: bytes, block: bytes, path: str, lock: bytes | None) -> str:
    """The same with a lock file that was read already (None: there is none)."""
    return _fingerprint(around, block, path, b"" if lock is None else b"+" + lock)


def _fingerprint(around: bytes, block: bytes, path: str, lock: bytes) -> str:
    folder = encoded(path.rpartition("/")[0]) if may_be_bound(block, lock) else b""
    return _digest([around, block, lock, folder]).hex()


def may_be_bound(block: bytes, lock: bytes) -> bool:
    """Whether the same block and lock file may mean something else in another folder: a quick look, on the safe side."""
    # paths start at the script's folder; only [tool.uv] holds any, and "tool" can be spelt otherwise with escapes alone
    return b"tool" in block or b"\\" in block or _may_name_places(lock)


def _may_name_places(lock: bytes) -> bool:
    """Whether lock.places may find any: a quick look, on the safe side."""
    if any(word in lock for word in (b"directory", b"editable", b"virtual", b"path", b"\\")):
        return True
    return lock.count(b"registry") != lock.count(b'registry = "http://') + lock.count(b'registry = "https://')


def _variables(environ: "Mapping[str, str]") -> list[bytes]:
    names = sorted(name for name in environ if name.startswith("UV_"))
    if not names:
        return []
    from sharedenv.start.uv_variables import FILES, LOCATIONS, role  # noqa: PLC0415 - most starts have none of them

    parts: list[bytes] = []
    words: list[str] = []  # all that may be a path
    for name in names:
        value = environ[name]
        if not value or (name not in _CHOOSERS and role(name) != "counted"):
            continue
        parts += [encoded(name), encoded(value)]
        if name in FILES:
            words += value.split()
            # a missing one is an error, which the full way tells
            parts += [_read(path, missing=False) for path in value.split()]
        elif name in LOCATIONS:
            words += value.split(LOCATIONS[name])
        elif name == "UV_CONFIG_FILE":
            words.append(value)
    if not all(word.strip().startswith("/") or "://" in word for word in words):
        parts.append(encoded(posix.getcwd()))
    return parts


def _configuration(root: str, environ: "Mapping[str, str]") -> list[bytes]:
    if chosen := environ.get("UV_CONFIG_FILE"):
        return [_read(chosen, missing=False)]
    found = _read(root + "/uv.toml")
    return [found, b"" if found else _read(root + "/pyproject.toml")]


def _read(path: str, *, missing: bool = True) -> bytes:
    """``+`` and the bytes of a file, or ``b""`` when there is none and that may be. Raises OSError."""
    try:
        return b"+" + read_bytes(path, 0, _MOST)
    except FileNotFoundError:
        if missing:
            return b""
        raise


def _read_lock(path: str) -> bytes:
    """As _read, but a link that leads to nothing is an error: without the versions that it stands for others would be taken."""
    try:
        return b"+" + read_bytes(path, posix.O_NOFOLLOW, _MOST)
    except FileNotFoundError:
        return b""
    except OSError:  # ELOOP, or what the second try says
        return b"+" + read_bytes(path, 0, _MOST)


def read_script(path: str) -> tuple[bytes, bool]:
    """What is in a script, and whether its path is a symbolic link. Raises OSError."""
    try:
        return read_bytes(path, posix.O_NOFOLLOW), False
    except OSError:  # ELOOP, or what the second try says
        return read_bytes(path), True


def read_bytes(path: str, flags: int = 0, most: int = sys.maxsize) -> bytes:
    """What is in a file; ``flags``: more of open(2)'s. Raises OSError, also for one that has more than about ``most`` bytes."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC | flags)  # a pipe must not make us wait
    try:
        chunks = []
        while chunk := posix.read(descriptor, 1 << 16):
            chunks.append(chunk)
            if len(chunks) << 16 > most:  # a link to /dev/zero has no end
                raise OSError(27, "File too large", path)
        return b"".join(chunks)
    finally:
        posix.close(descriptor)


def _digest(parts: list[bytes]) -> bytes:
    # each with its length: no two lists of parts give one stream of bytes
    hashed = sha256()
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    digest: bytes = hashed.digest()
    return digest
