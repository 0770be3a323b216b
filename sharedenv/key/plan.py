"""Scripts grouped by key; every bad script reported at once."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from sharedenv.key.payload import Maker, Payload
from sharedenv.script.find import is_pattern
from sharedenv.script.metadata import NO_BLOCK, Metadata, ScriptError, field_line, parse_block, read_block, uv_options
from sharedenv.script.problems import FOLDER, FOLDERS, NO_FILE, BadScripts, Problem, remark, shown
from sharedenv.start.block import Block
from sharedenv.start.environ import current_folder
from sharedenv.start.fingerprint import lock_owner, sha256
from sharedenv.values import frozen

LARGEST = 64 * 2**20  #: bytes; a bigger file is data that a pattern caught, not a script
UNREAD = "options of uv in the first line are not read, here as by `uv run SCRIPT`: {}"
_SLOW = 0.0005  # seconds that a script and its lock take where they come across a network; 20 µs where they lie here
_AT_ONCE = 16  # scripts
_BLOCK = 1000  # scripts, until it is seen again whether they come slowly
_OURS_ALONE = ("/dev/stdin", "/dev/fd/", "/proc/self/")  # names that mean another file to the process that is to run it


#: a script's bytes; the path beside which its lock would lie, another one where it is a link; the lock's bytes
_Read = tuple[bytes, str, bytes | None]


@frozen
class Need:
    """One environment that scripts need: its payload, and who needs it."""

    payload: Payload
    scripts: tuple[str, ...]  # absolute paths, in the order asked


@frozen
class Plan:
    """``scripts``: each absolute path with its key, in the order asked; ``needs``: environments by key, in it too.

    ``digests``: sha256 of each script's bytes, in the same order, 64 hex digits; ``warnings``: for people, a line each; ``bad``: scripts
    that are passed over, since they can't be used.
    """

    scripts: tuple[tuple[str, str], ...]
    needs: Mapping[str, Need]
    digests: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    bad: BadScripts | None = None


def make_plan(paths: Iterable[str], make: Maker, *, skip_bad: bool = False) -> Plan:
    """Reads every script (absolute paths) once and groups them by key. Raises BadScripts, which names every bad one; with
    ``skip_bad``, where there is no other.

    ``make`` says what a script's payload is: the full way (key.maker), or what the pool knows (pool/index.known).

    What costs more than a read is done once for all scripts with the same block and lock file (and the same folder,
    where these name files relative to it): 100,000 copies are one parse.
    """
    keyer = _Keyer(make)
    scripts: list[tuple[str, str]] = []
    digests: list[str] = []
    needs: dict[str, tuple[Payload, list[str]]] = {}
    problems: list[Problem] = []
    remarks: dict[str, tuple[str, int, list[str]]] = {}  # what is to be said → where it was met first, scripts that have it
    total = 0
    for path, read in _read_all(paths):
        total += 1
        try:
            payload = keyer.payload(path, read)
        except ScriptError as error:
            problems.append(Problem(path, error.message, error.line, error.field))
        except OSError as error:
            problems.append(Problem(path, _reason(path, error)))
        else:
            scripts.append((path, payload.key))
            digests.append(keyer.digest)
            needs.setdefault(payload.key, (payload, []))[1].append(path)
            for line, text in keyer.remarks:
                remarks.setdefault(text, (path, line, []))[2].append(path)
    bad = BadScripts(problems, total, current_folder(os.environ)) if problems else None
    if bad and not (skip_bad and scripts):
        raise bad
    found = {key: Need(payload, tuple(users)) for key, (payload, users) in needs.items()}
    here = current_folder(os.environ)
    warnings = tuple(remark(shown(path, here), line, text, len(users)) for text, (path, line, users) in remarks.items())
    return Plan(tuple(scripts), found, tuple(digests), warnings, bad)


class _Keyer:
    """Script → payload, remembering what it has worked out: equal blocks give equal answers, errors too."""

    def __init__(self, make: Maker) -> None:
        self._maker = make
        self._parsed: dict[tuple[bytes, int], Metadata | ScriptError] = {}
        #: by block, its line, lock file, and the folder ("" where it says nothing)
        self._payloads: dict[tuple[bytes, int, bytes | None, str], Payload | ScriptError] = {}
        self._locks: dict[bytes, bytes] = {}
        self._last: tuple[bytes, Block] | None = None
        self._first: tuple[tuple[int, str], ...] = ()  # remarks on the first line of the last bytes
        self._plain: Payload | None = None  # of the last bytes, wherever they lie, without a lock file
        self.digest = ""  #: of the script that `payload` was last called for
        self.remarks: tuple[tuple[int, str], ...] = ()  #: what is passed over in it: line, and what is to be said

    def payload(self, path: str, read: _Read | OSError) -> Payload:
        """The payload of one script and its lock file, both as read. Raises ScriptError, OSError."""
        if isinstance(read, OSError):
            raise read
        data, path, lock = read
        block = self._block(data)
        lock = lock and self._locks.setdefault(lock, lock)  # one copy in memory, however many scripts have it
        if lock is None and self._plain is not None:
            return self._plain
        metadata = self._metadata(block)
        self.remarks = (*self._first, *((field_line(block, key), text) for key, text in metadata.idle))
        folder = os.path.dirname(path)
        name = (block.content, block.line, lock)
        payload = self._payloads.get((*name, "")) or self._payloads.get((*name, folder))
        if payload is None:
            payload = self._make(metadata, path, lock)
            self._payloads[(*name, folder if _is_bound(payload, folder) else "")] = payload
        if isinstance(payload, ScriptError):
            raise payload
        if lock is None and not payload.bound:
            self._plain = payload
        return payload

    def _block(self, data: bytes) -> Block:
        if self._last is None or data != self._last[0]:
            self._plain = None
            self._last = data, read_block(data)
            options = uv_options(data)
            self._first = ((1, UNREAD.format(options)),) if options else ()
            self.digest = sha256(data).hexdigest()
        return self._last[1]

    def _metadata(self, block: Block) -> Metadata:
        name = (block.content, block.line)
        found = self._parsed.get(name)
        if found is None:
            try:
                found = parse_block(block)
            except ScriptError as error:
                found = error
            self._parsed[name] = found
        if isinstance(found, ScriptError):
            raise found
        return found

    def _make(self, metadata: Metadata, path: str, lock: bytes | None) -> Payload | ScriptError:
        try:
            return self._maker(metadata, path, lock)
        except ScriptError as error:
            if error.line is None and error.field is not None:
                error.line = field_line(metadata.block, error.field)
            return error


def _is_bound(payload: Payload | ScriptError, folder: str) -> bool:
    """Whether the same bytes may give something else in another folder."""
    if isinstance(payload, Payload):
        return payload.bound
    try:
        folder.encode()
    except UnicodeEncodeError:  # which can be the error
        return True
    return False


def _read_all(paths: Iterable[str]) -> Iterator[tuple[str, _Read | OSError]]:
    """Each path with what `_read` says of it. Where a file takes long, that is waiting: for several at a time then."""
    rest = iter(paths)
    while some := list(islice(rest, _AT_ONCE)):
        began = time.monotonic()
        found = list(map(_read, some))
        slow = time.monotonic() - began > _SLOW * len(some)
        yield from zip(some, found, strict=True)
        block = islice(rest, _BLOCK)
        if slow:
            yield from _read_ahead(block)
        else:
            yield from ((path, _read(path)) for path in block)


def _read_ahead(paths: Iterator[str]) -> Iterator[tuple[str, _Read | OSError]]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - on a slow file system alone

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        while some := list(islice(paths, 4 * _AT_ONCE)):
            try:
                found = list(threads.map(_read, some))
            except RuntimeError:  # no more threads for this user
                found = list(map(_read, some))
            yield from zip(some, found, strict=True)


def _read(path: str) -> _Read | OSError:
    """A script and its lock file, or why they can't be read."""
    try:
        try:
            data = read_file(path, os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            data, path = read_file(path), lock_owner(path)
        return data, path, _read_lock(path + ".lock")
    except OSError as error:
        return error


def _read_lock(path: str) -> bytes | None:
    # cheaper than an error, and nearly always so; a link that leads where this user may not look is there
    if not os.access(path, os.F_OK, follow_symlinks=False):
        return None
    try:
        return read_file(path)
    except FileNotFoundError:
        return None


def read_file(path: str, flags: int = 0) -> bytes:
    """All bytes of a regular file; ``flags``: more of open(2)'s.

    Raises OSError; a pipe or a device is one too, so that none can make it wait.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or path.startswith(_OURS_ALONE):
            raise OSError(errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL, "not a regular file", path)
        if status.st_size > LARGEST:
            raise OSError(errno.EFBIG, f"{status.st_size / 1e6:,.0f} MB are too many for a script", path)
        data = os.read(descriptor, status.st_size + 1)
        if len(data) == status.st_size:
            return data
        parts = [data]  # it grew, or the file system gave less than asked for
        while part := os.read(descriptor, 2**20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def digest_of(path: str) -> str:
    """sha256 of a script's bytes, as in `Plan.digests`. Raises OSError."""
    return sha256(read_file(path)).hexdigest()


def is_plain(path: str) -> bool:
    """Whether a file can be read and has no block, nor what is nearly one."""
    try:
        read_block(read_file(path))
    except ScriptError as error:
        return error.message == NO_BLOCK
    except OSError:
        return False
    return False


def _reason(path: str, error: OSError) -> str:
    words = error.strerror or str(error)
    words = words[:1].lower() + words[1:]
    if error.filename != path:  # the lock file's
        return f"its lock file can't be read: {words}"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        if os.path.islink(path):
            return "a link to a file that isn't there"
        return FOLDERS if is_pattern(path) and _matches_a_folder(path) else NO_FILE
    return FOLDER if error.errno == errno.EISDIR else f"can't be read: {words}"


def _matches_a_folder(pattern: str) -> bool:
    import glob  # noqa: PLC0415 - for a word about a mistake

    return any(map(os.path.isdir, glob.iglob(pattern)))
