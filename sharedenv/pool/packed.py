"""Packed environments: one file each, `packed/<identity>.<sha256>.tar.gz`, that begins with the manifest. A look from outside.

Its time is the environment's last use. What copies/pack writes and brings back; here it is found and told apart.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO

from sharedenv.key.payload import Payload
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import Manifest, parse_manifest
from sharedenv.start.access import MANIFEST, SHORT
from sharedenv.start.regular import SMALL, open_regular
from sharedenv.values import frozen

_NAME = re.compile(r"([0-9a-f]{12}-[1-9][0-9]*)-([0-9a-f]{12})\.([0-9a-f]{64})\.tar\.gz")

#: what reading an archive raises that is damaged
UNREADABLE = (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError)


@frozen
class Packed:
    """One archive of a packed environment.

    name      `<key12>-<n>`, of the environment that it was
    digest    sha256 of its bytes (64 hex digits), as its name has it
    bytes     its size
    last_use  of the environment, seconds since the epoch
    manifest  None where it can't be read
    doubt     why nothing may be concluded from that (the disk failed), in words; None when the archive itself is at fault
    """

    path: str
    name: str
    digest: str
    bytes: int
    last_use: float
    manifest: Manifest | None
    doubt: str | None = None


def all_packed(layout: Layout, beginning: str = "") -> Iterator[Packed]:
    """The archives whose names begin so, by name. What is called otherwise is none."""
    try:
        names = sorted(name for name in os.listdir(layout.packed) if name.startswith(beginning))
    except OSError:
        return
    for name in names:
        if found := _NAME.fullmatch(name):
            path, manifest, doubt = os.path.join(layout.packed, name), None, None
            try:
                status = os.lstat(path)
            except OSError:
                continue  # it was unpacked at this moment
            try:
                manifest = _manifest(path, found[2])
            except FileNotFoundError:
                continue
            except OSError as error:
                doubt = f"its archive can't be read: {error.strerror}"
            yield Packed(path, found[1], found[3], status.st_size, status.st_mtime, manifest, doubt)


def find_packed(layout: Layout, payload: Payload) -> list[Packed]:
    """The archives of a payload's environment, the newest build first: one, but for those that a kill has left."""
    found = [(each.manifest.built, each) for each in all_packed(layout, payload.key[:SHORT]) if each.manifest is not None]
    fitting = [(built, each) for built, each in found if each.manifest is not None and each.manifest.payload.text == payload.text]
    return [each for _, each in sorted(fitting, key=lambda pair: pair[0], reverse=True)]


def read_member(tar: tarfile.TarFile, name: str, most: int) -> bytes:
    """The next member of an archive, which is to be a file of this name and not larger than that. Raises as UNREADABLE says."""
    member = tar.next()
    if member is None or member.name != name or member.type != tarfile.REGTYPE or member.size > most:
        raise ValueError(f"{name} does not stand where it should")
    source: IO[bytes] | None = tar.extractfile(member)
    assert source is not None  # it is a file
    return source.read()


def _manifest(path: str, digits: str) -> Manifest | None:
    with open(open_regular(path), "rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r|gz") as tar:
                data = read_member(tar, MANIFEST, SMALL)
            return parse_manifest(data.decode()) if hashlib.sha256(data).hexdigest().startswith(digits) else None
        except UNREADABLE:
            return None
