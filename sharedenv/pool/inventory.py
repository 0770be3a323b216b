"""The inventory of an environment: every file's hash as it was built, kept beside the manifest, which holds its digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping

from sharedenv.start.access import INVENTORY
from sharedenv.start.regular import MOST, open_regular, read_regular
from sharedenv.values import frozen

SCHEMA = 1

_PYTHON = re.compile(r"bin/(python|pypy|graalpy)[\d.]*")
_WHOLE = 4 << 20  #: bytes: files up to this size are read at one stroke
_BATCH = 64  #: files a task of the pool of threads: one task a file would cost more than its hash


@frozen
class Inventory:
    """What an environment holds, by path relative to it. Manifest and inventory are not among the files."""

    files: Mapping[str, tuple[int, str]]  # size in bytes, sha256 in hex
    links: Mapping[str, str]  # target, as readlink gives it
    directories: tuple[str, ...]

    @property
    def elsewhere(self) -> dict[str, str]:
        """The links that lead out of the environment, with their targets, Python's own aside: link-mode symlink has made such."""
        return {name: target for name, target in self.links.items() if target.startswith("/") and not _PYTHON.fullmatch(name)}

    def to_json(self) -> bytes:
        """The bytes of sharedenv.inventory: names that are no UTF-8 stand there as escapes."""
        value = {
            "schema": SCHEMA,
            "files": {path: list(record) for path, record in sorted(self.files.items())},
            "links": dict(sorted(self.links.items())),
            "directories": sorted(self.directories),
        }
        return json.dumps(value, separators=(",", ":")).encode()


class InventoryError(ValueError):
    """An inventory that can't be used, in words for the user."""


def digest(data: bytes) -> str:
    """The digest of an inventory's bytes as it stands in the manifest."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def read_inventory(environment: str, expected: str) -> Inventory:
    """The inventory of the environment at this path; ``expected`` is the manifest's digest. Raises InventoryError."""
    try:
        data = read_regular(os.path.join(environment, INVENTORY), MOST)
    except FileNotFoundError:
        raise InventoryError("its inventory is gone") from None
    except OSError as error:
        raise InventoryError(f"its inventory can't be read: {error.strerror}") from None
    return parse_inventory(data, expected)


def parse_inventory(data: bytes, expected: str) -> Inventory:
    """An inventory from its bytes; ``expected`` as above. Raises InventoryError."""
    if digest(data) != expected:
        raise InventoryError("its inventory has been changed")
    try:
        value = json.loads(data)
        files = {path: (int(size), str(sha256)) for path, (size, sha256) in value["files"].items()}
        return Inventory(files, dict(value["links"]), tuple(value["directories"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InventoryError("its inventory is damaged") from None


def take_inventory(root: str, paths: Iterable[str], directories: Iterable[str]) -> Inventory:
    """Hashes the entries below ``root`` (relative paths; links are recorded, never followed). Raises OSError."""
    names = list(paths)
    files: dict[str, tuple[int, str]] = {}
    links: dict[str, str] = {}
    for path, record in hash_entries(root, names):
        if isinstance(record, OSError):
            raise record
        if isinstance(record, str):
            links[path] = record
        else:
            files[path] = record
    return Inventory(files, links, tuple(directories))


def hash_entries(root: str, paths: list[str]) -> Iterable[tuple[str, tuple[int, str] | str | OSError]]:
    """Each path with its (size, sha256), with its target if it is a link, or with the error that kept it from being read."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - it brings `logging` along, and a run hashes nothing

    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    # hashing and reading release the interpreter's lock; more threads than a few gain nothing on one disk
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as threads:
        for batch, records in zip(batches, threads.map(lambda batch: _hash_batch(root, batch), batches), strict=True):
            yield from zip(batch, records, strict=True)


def _hash_batch(root: str, batch: list[str]) -> list[tuple[int, str] | str | OSError]:
    records: list[tuple[int, str] | str | OSError] = []
    for path in batch:
        try:
            records.append(_hash_entry(f"{root}/{path}"))
        except OSError as error:
            records.append(error)
    return records


def _hash_entry(path: str) -> tuple[int, str] | str:
    try:
        descriptor = open_regular(path)
    except OSError:
        if os.path.islink(path):
            return os.readlink(path)
        raise
    with open(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if found.st_size <= _WHOLE:
            data = file.read()
            return len(data), hashlib.sha256(data).hexdigest()
        return found.st_size, hashlib.file_digest(file, "sha256").hexdigest()
