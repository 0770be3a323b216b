"""A pool comes into being: its folders, who may write into them, the file that says which format it has."""

from __future__ import annotations

import errno
import json
import os
import shlex
import stat

from sharedenv.errors import EXIT_BUILD, EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import FOLDERS, FORMAT, Layout
from sharedenv.pool.private import FOLDER, make_folders, private

ELSEWHERE = "take a folder that you can write to: sharedenv --pool DIR/.sharedenv …"  #: a hint where the pool's place is denied


def create_pool(layout: Layout, *, shared: bool = False) -> bool:
    """Makes the pool's folders, or sees that they are there (purges take empty ones). Returns whether it is a new pool.

    Nobody else may write into them, whatever the umask. ``shared``: the group may, from now on (setgid, so that what is
    made there is the group's). Raises SharedenvError (read-only, of another format, or where uv can build nothing).
    """
    if not os.path.exists(layout.marker):  # what was built before and moved there runs
        _check_name(layout)
    try:
        make_folders(layout.path)
        new = not os.path.exists(layout.marker)
        mode = stat.S_IMODE(os.stat(layout.path).st_mode)
        if shared:
            mode = mode | 0o2070
        elif new:
            mode &= ~0o022
        if new or shared:
            os.chmod(layout.path, mode)
        for folder in FOLDERS:
            path = os.path.join(layout.path, folder)
            if _make_folder(path) or shared or _is_closed(path, mode):
                os.chmod(path, mode)
        if new:
            # backup programs know this tag (bford.info/cachedir), git this ignore file
            _write(layout, "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# sharedenv's pool\n")
            _write(layout, ".gitignore", "*\n")
        if new or shared:
            # last: it makes the folder a pool
            _write(layout, "pool.json", json.dumps({"format": FORMAT, **({"shared": "group"} if shared else {})}) + "\n")
    except OSError as error:
        hint = f"ls -ld {shlex.quote(layout.root)}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"df -h -i {shlex.quote(layout.root)}"
        elif not shared and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = ELSEWHERE
        raise SharedenvError(
            f"can't {'share the' if shared else 'make a'} pool at {layout.path}",
            cause=error.strerror,
            hint=hint,
            exit_code=EXIT_BUILD,
        ) from None
    check_format(layout)
    return new


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
        with open(layout.marker, encoding="utf-8") as file:
            found = json.load(file)["format"]
    except FileNotFoundError:
        return
    except OSError as error:
        raise SharedenvError(
            f"can't use the pool {layout.path}", cause=error.strerror, hint=f"ls -ld {shlex.quote(layout.path)}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise SharedenvError(
            f"can't use the pool {layout.path}",
            cause="its pool.json is damaged; without it, the next build writes another and takes up what is there",
            hint=f"rm {shlex.quote(layout.marker)}",
            exit_code=EXIT_USAGE,
        ) from None
    if found != FORMAT:
        raise SharedenvError(
            f"the pool {layout.path} has format {found}; this sharedenv knows format {FORMAT}",
            hint="pip install --upgrade sharedenv",
            exit_code=EXIT_USAGE,
        )


def _write(layout: Layout, name: str, text: str) -> None:
    temporary = os.path.join(layout.path, f".{name}.{os.urandom(4).hex()}")
    with open(temporary, "w", encoding="utf-8", opener=private) as file:
        file.write(text)
    os.chmod(temporary, stat.S_IMODE(os.stat(temporary).st_mode) & 0o755 | (os.stat(layout.path).st_mode & 0o044))
    os.replace(temporary, os.path.join(layout.path, name))
