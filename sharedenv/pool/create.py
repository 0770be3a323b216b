"""A pool comes into being: its folders, who may write into them, the file that says which format it has."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import stat
from typing import Any

from sharedenv.errors import EXIT_BUILD, EXIT_USAGE, SharedenvError
from sharedenv.pool.files import FOLDER, make_folders, private, sync_descriptor, sync_folder
from sharedenv.pool.layout import FOLDERS, FORMAT, FORMATS, HOLDING, PARTS, Layout
from sharedenv.pool.mounts import file_system
from sharedenv.pool.trial import elsewhere, lacking, named
from sharedenv.start.access import again
from sharedenv.start.regular import NOT_REGULAR, open_regular, read_regular

ELSEWHERE = "take a folder that you can write to: sharedenv --pool DIR/.sharedenv …"  #: a hint where the pool's place is denied


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def create_pool(layout: Layout, *, shared: bool = False, init: bool = False) -> bool:
    """Makes the pool's folders, or sees that they are there (purges take empty ones). Returns whether it is a new pool.

    Nobody else may write into them, whatever the umask. ``shared``: the group may, from now on (setgid, so that what is
    made there is the group's). ``init``: it reaches into the projects below its folder. Raises SharedenvError (read-only, of
    another format, or where uv can build nothing).
    """
    if not os.path.exists(layout.marker):  # what was built before and moved there runs
        _check_name(layout)
    marks = {**({"shared": "group"} if shared else {}), **({"init": True} if init else {})}
    above = _nearest(layout.path)
    try:
        make_folders(layout.path)
        new = not os.path.exists(layout.marker)
        if new:
            _check_file_system(layout, above)
        mode = stat.S_IMODE(os.stat(layout.path).st_mode)
        if shared:
            mode = mode | 0o2070
        elif new:
            mode &= ~0o022
        if new or shared:
            os.chmod(layout.path, mode)
        there = os.listdir(layout.path)
        for folder in PARTS:
            if mode & stat.S_IWGRP if folder in there else folder in FOLDERS:  # what is there is looked at in a shared pool alone
                _make_part(os.path.join(layout.path, folder), mode, shared)
        if new:
            # backup programs know this tag (bford.info/cachedir), git this ignore file
            _make_file(layout, "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# sharedenv's pool\n")
            _make_file(layout, ".gitignore", "*\n")
            # last: it makes the folder a pool
            new = _make_file(layout, "pool.json", _marker({"format": FORMAT}, marks))
            sync_folder(layout.path)
        check_format(layout)
        if marks:
            mark(layout, marks)
        if shared:
            mark_holding(layout)  # a colleague who builds first can't: it is our file that says who shares the pool
    except OSError as error:
        raise _denied(layout, error, shared) from None
    return new


def _denied(layout: Layout, error: OSError, shared: bool) -> SharedenvError:
    hint = f"ls -ld {shlex.quote(layout.root)}"
    if error.errno in NO_ROOM:
        hint = f"df -h -i {shlex.quote(layout.root)}"
    elif not shared and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = ELSEWHERE
    what = "share the" if shared else "make a"
    return SharedenvError(f"can't {what} pool at {layout.path}", cause=error.strerror, hint=hint, exit_code=EXIT_BUILD)


def way_out(layout: Layout, error: OSError) -> str:
    """A hint for a pool that can't be written: where its room went, or what else its file system does not do."""
    pool = shlex.quote(layout.path)
    return f"df -h -i {pool}" if error.errno in NO_ROOM else f"sharedenv --pool {pool} doctor"


def _check_name(layout: Layout) -> None:
    try:
        os.fsencode(layout.path).decode()
    except UnicodeDecodeError:
        raise SharedenvError(
            f"no environment can be built in {layout.path}",
            cause="the path is not UTF-8, which uv wants",
            hint="sharedenv --pool DIR/.sharedenv build …, DIR being a folder whose path is UTF-8",
            exit_code=EXIT_BUILD,
        ) from None


def _check_file_system(layout: Layout, above: str) -> None:
    """Raises SharedenvError where no pool can be, and leaves nothing of it; ``above``: the folder that was there before."""
    found = lacking(layout.path)
    if not found:
        return
    path = layout.path
    with contextlib.suppress(OSError):  # what others put there meanwhile stays
        while path != above:
            os.rmdir(path)
            path = os.path.dirname(path)
    system = file_system(above)
    raise SharedenvError(
        f"no pool can be made at {layout.path}",
        cause="\n".join([f"{named(system)} can't do what a pool needs:", *found]),
        hint=elsewhere(system),
        exit_code=EXIT_BUILD,
    )


def _nearest(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def make_packed(layout: Layout) -> None:
    """Makes the folder of packed environments, which all who share the pool can write. Raises OSError."""
    _make_part(layout.packed, stat.S_IMODE(os.stat(layout.path).st_mode), shared=False)


def _make_part(path: str, mode: int, shared: bool) -> None:
    if _make_folder(path) or shared or _is_closed(path, mode):
        os.chmod(path, mode)


def _make_folder(path: str) -> bool:
    try:
        os.mkdir(path, FOLDER)
    except FileExistsError:
        return False
    return True


def _is_closed(path: str, mode: int) -> bool:
    """Whether a folder of ours is closed to the group that the pool (its ``mode``) is shared with: an older version made it so."""
    found = os.stat(path)
    return bool(mode & ~found.st_mode & stat.S_IWGRP) and found.st_uid == os.geteuid()


def check_format(layout: Layout) -> None:
    """Raises SharedenvError when the pool was made by a version of sharedenv that this one doesn't understand."""
    try:
        try:
            found = read_marker(layout)["format"]
        except ValueError:
            found = read_marker(layout)["format"]  # the mark was being written into it
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in NOT_REGULAR:
            raise _damaged(layout, str(error.strerror).removeprefix("it "), "rm -r") from None
        raise SharedenvError(
            f"can't use the pool {layout.path}", cause=error.strerror, hint=f"ls -ld {shlex.quote(layout.path)}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise _damaged(layout, "is damaged", "rm") from None
    if found not in FORMATS:
        raise SharedenvError(
            f"the pool {layout.path} has format {found}; this sharedenv knows formats {' and '.join(map(str, FORMATS))}",
            hint="pip install --upgrade sharedenv",
            exit_code=EXIT_USAGE,
        )


def _damaged(layout: Layout, fault: str, remove: str) -> SharedenvError:
    return SharedenvError(
        f"can't use the pool {layout.path}",
        cause=f"its pool.json {fault}; without it, the next build writes another and takes up what is there",
        hint=f"{remove} {shlex.quote(layout.marker)}",
        exit_code=EXIT_USAGE,
    )


def mark_holding(layout: Layout) -> None:
    """Says in pool.json that the pool holds versions, so that an older sharedenv leaves it alone. Raises OSError."""
    if read_marker(layout)["format"] >= HOLDING:
        return
    try:
        mark(layout, {"format": HOLDING})
    except PermissionError:  # it is somebody else's: another takes its place, once in the life of a pool
        if "shared" in read_marker(layout):
            return  # that counts in its owner's file alone: with another the pool would be shared no more
        temporary = os.path.join(layout.path, f".pool.json.{os.urandom(4).hex()}")
        with open(temporary, "x", encoding="utf-8", opener=private) as file:
            file.write(_marker(read_marker(layout), {"format": HOLDING}))
            _open_as_the_pool(layout, file.fileno())
            file.flush()
            sync_descriptor(file.fileno())
        os.replace(temporary, layout.marker)


def read_marker(layout: Layout) -> dict[str, Any]:
    """What pool.json says. Raises OSError, ValueError."""
    document: dict[str, Any] = json.loads(again(lambda: read_regular(layout.marker)))
    return document


def _marker(document: dict[str, Any], marks: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in {**document, **marks}.items() if value is not None}) + "\n"


def _make_file(layout: Layout, name: str, text: str) -> bool:
    """Makes a file of the pool, complete and once: what another process has made stays. Returns whether it is ours.

    Never by a rename over it: whoever reads what is being replaced finds it stale or gone on network file systems.
    """
    path = os.path.join(layout.path, name)
    temporary = os.path.join(layout.path, f".{name}.{os.urandom(4).hex()}")
    with open(temporary, "x", encoding="utf-8", opener=private) as file:
        file.write(text)
        _open_as_the_pool(layout, file.fileno())
        file.flush()
        sync_descriptor(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links; and sshfs says so where the name is taken
        if os.path.lexists(path):
            return False
        os.rename(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return True


def mark(layout: Layout, marks: dict[str, Any]) -> None:
    """Writes these marks into the pool.json that is there, and takes out what is None. Raises OSError.

    Whoever reads it meanwhile has the same file before and after.
    """
    text = _marker(read_marker(layout), marks).encode()
    with open(open_regular(layout.marker, os.O_RDWR), "r+b", buffering=0) as file:
        _open_as_the_pool(layout, file.fileno())
        if (before := file.read()) != text:
            file.seek(0)
            file.write(text.ljust(len(before), b"\n"))  # at one stroke it is whole, whoever is killed or reads it now
            file.truncate(len(text))
            sync_descriptor(file.fileno())


def _open_as_the_pool(layout: Layout, descriptor: int) -> None:
    # the group and others may read it where they may read the pool, whatever the umask; nobody else may write
    os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o755 | (os.stat(layout.path).st_mode & 0o044))
