"""The entry points of an environment (console scripts and their like in its bin), written for a place.

uv writes them for no place, as environments are built elsewhere than they end: `#!/bin/sh` files that look for their Python
beside them. A shell in between drops variables, wants `realpath` and `dirname` on PATH, and what stands in front of the
script's own text makes a `from __future__` in it an error. So they are written anew, once the place is known, as uv itself
does where the place is known from the start.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator

from sharedenv.pool.dist_info import rewrite_record, write_anew
from sharedenv.start.entry_points import is_ours
from sharedenv.start.regular import open_regular

_LONGEST = 127  #: bytes of a first line that every kernel reads whole, its end included; uv and pip have the same limit
_BEGIN = 4096  #: bytes that hold any first line of ours
_SHELL = "#!/bin/sh\n'''exec' {} \"$0\" \"$@\"\n' '''\n"
_ANYWHERE = _SHELL.format("\"$(dirname -- \"$(realpath -- \"$0\")\")\"/'{}'")


def place_entry_points(venv: str, place: str, before: str = "") -> list[str]:
    """Writes those in ``venv`` for an environment at ``place``, and the RECORDs that name them; the paths of all these files.

    ``before``: the place that they are written for now, "" for none. Paths are relative to the environment. Raises OSError.
    """
    written = dict(_written_for(venv, place, before))
    for name, data in written.items():
        write_anew(os.path.join(venv, name), data)
    records = [] if not written else glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "*.dist-info", "RECORD"))
    changed = [*written]
    for record in records:
        folder = os.path.dirname(record)
        named = {os.path.relpath(os.path.join(venv, name), os.path.dirname(folder)): data for name, data in written.items()}
        if rewrite_record(folder, named):
            changed.append(os.path.relpath(record, venv))
    return changed


def restage_entry_points(copy: str, place: str, before: str) -> None:
    """Writes those of a staged copy for the place where it will be; their times stay, and so do the RECORDs. Raises OSError."""
    folder = os.path.join(copy, "bin")
    own = os.stat(folder)
    os.chmod(folder, 0o700)
    for name, data in _written_for(copy, place, before):
        path = os.path.join(copy, name)
        found = os.stat(path)
        write_anew(path, data)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.utime(folder, ns=(own.st_atime_ns, own.st_mtime_ns))
    os.chmod(folder, stat.S_IMODE(own.st_mode))


def make_folder(folder: str, environment: str, before: str) -> None:
    """Makes a folder with the entry points of an environment as they are to be where it stands, or makes it new. Raises OSError.

    ``before``: the place they are written for. It is there at once and whole, whoever else makes it.
    """
    base = os.path.dirname(folder)
    if os.statvfs(base).f_flag & os.ST_NOEXEC:
        raise OSError(errno.EACCES, "nothing can be started from that disk")
    temporary = tempfile.mkdtemp(prefix=".sharedenv-", dir=base)
    try:
        for name, data in _written_for(environment, environment, before):
            path = os.path.join(temporary, os.path.basename(name))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
            with open(descriptor, "wb") as file:
                file.write(data)
        try:
            os.rename(temporary, folder)
        except OSError:
            # another process was first, or it has aged: it may be in use, and is made new file by file
            if is_ours(folder) is None:
                raise OSError(errno.EEXIST, "something else is in the way") from None
            for name in os.listdir(temporary):
                os.replace(os.path.join(temporary, name), os.path.join(folder, name))
            os.utime(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _written_for(venv: str, place: str, before: str) -> Iterator[tuple[str, bytes]]:
    """Each entry point of ``venv``, its path relative to it, as it is to be in an environment at ``place``."""
    pattern = _beginning(before)
    with os.scandir(os.path.join(venv, "bin")) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if not entry.is_file(follow_symlinks=False):
                continue
            with open(open_regular(entry.path), "rb") as file:
                start = file.read(_BEGIN)
                if found := pattern.match(start):
                    python = os.fsencode(os.path.join(place, "bin")) + b"/" + found[found.lastindex or 1]
                    yield f"bin/{entry.name}", _first_lines(python) + start[found.end() :] + file.read()


def _beginning(place: str) -> re.Pattern[bytes]:
    """What an entry point begins with that is written for a place, "" for none; its only group that matches is Python's name."""
    name = rb"([\w.-]+)"
    if not place:
        return re.compile(re.escape(_ANYWHERE.encode()).replace(re.escape(b"{}"), name) )
    folder = os.fsencode(os.path.join(place, "bin")) + b"/"
    shell = re.escape(_SHELL.format("'{}{}'").encode())
    return re.compile(rb"#!" + re.escape(folder) + name + rb"\n|" + shell.replace(re.escape(b"{}{}"), re.escape(_in_quotes(folder)) + name))


def _first_lines(python: bytes) -> bytes:
    """What starts a Python at this path, as uv writes it: a kernel takes no long path there, and none with a space in it."""
    line = b"#!" + python + b"\n"
    if len(line) <= _LONGEST and not set(python) & set(b" \t\n"):
        return line
    return _SHELL.format("'{}'").encode().replace(b"{}", _in_quotes(python))


def _in_quotes(text: bytes) -> bytes:
    return text.replace(b"'", b"'\"'\"'")
