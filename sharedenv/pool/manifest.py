"""The manifest of an environment: what it was built for, from what, by whom, and what it holds."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, field
from typing import Any

from sharedenv.key.payload import Payload, payload_from
from sharedenv.start.access import MANIFEST, OTHERS
from sharedenv.start.regular import NOT_REGULAR, SMALL, open_regular, read_bounded
from sharedenv.values import frozen

SCHEMA = 1


@frozen
class Interpreter:
    """The base Python of an environment, as it was when the environment was built."""

    path: str  # absolute, links resolved
    version: str  # such as 3.11.7
    implementation: str  # such as cpython
    identity: str  # of the file behind bin/python, see access.identity: its version is asked again when this changes


@frozen
class Package:
    """One installed distribution."""

    name: str  # normal form of PEP 503
    version: str


@frozen
class Manifest:
    """One environment's record. Sizes in bytes, ``built`` in seconds since the epoch, ``seconds`` the build's length."""

    payload: Payload
    interpreter: Interpreter
    packages: tuple[Package, ...]
    uv: str
    libc: str  # such as "glibc 2.36", "" where unknown
    glibc: str  # the oldest glibc it runs on, such as "2.28"; "" when nothing in it is compiled
    host: str
    user: str
    built: float
    seconds: float
    bytes: int
    files: int
    directories: int
    entries: str  # digest of the names of all that it holds, bytecode aside
    inventory: str  # digest of sharedenv.inventory
    scripts: tuple[str, ...] = ()  # the first scripts it was built for, relative to the project's root where below it
    scripts_count: int = 0  # how many it was built for; 0: not recorded
    notes: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of sharedenv.json."""
        value = {"schema": SCHEMA, "key": self.payload.key, **asdict(self), "payload": self.payload.document}
        return json.dumps(value, indent=1, sort_keys=True) + "\n"


class ManifestError(ValueError):
    """A manifest that can't be read, in words for the user.

    gone   there is none
    doubt  why nothing may be concluded from it (the disk failed); None when the manifest itself is at fault
    """

    def __init__(self, message: str, *, gone: bool = False, doubt: bool = False) -> None:
        super().__init__(message)
        self.gone = gone
        self.doubt = message if doubt else None


def read_manifest(environment: str) -> Manifest:
    """The manifest of the environment at this path. Raises ManifestError."""
    try:
        path = os.path.join(environment, MANIFEST)
        descriptor = open_regular(path)
        try:
            if os.fstat(descriptor).st_mode & OTHERS:
                raise ManifestError("others may write its manifest")
            return parse_manifest(read_bounded(descriptor, path, SMALL).decode())
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ManifestError("its manifest is gone", gone=True) from None
    except UnicodeDecodeError:
        raise ManifestError("its manifest is damaged") from None
    except OSError as error:
        if error.errno in (*NOT_REGULAR, errno.EFBIG):
            raise ManifestError(f"its manifest {str(error.strerror).removeprefix('it ')}") from None
        raise ManifestError(f"its manifest can't be read: {error.strerror}", doubt=True) from None


def parse_manifest(text: str) -> Manifest:
    """A manifest from the text of sharedenv.json; its payload must give the key it names. Raises ManifestError."""
    try:
        value = json.loads(text)
        if value.pop("schema") != SCHEMA:
            raise ManifestError("its manifest was written by another version of sharedenv")
        payload = payload_from(value.pop("payload"))
        if payload.key != value.pop("key"):
            raise ManifestError("its manifest has been changed: payload and key differ")
        return Manifest(
            payload=payload,
            interpreter=Interpreter(**value.pop("interpreter")),
            packages=tuple(Package(**package) for package in value.pop("packages")),
            scripts=tuple(value.pop("scripts")),
            **value,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError("its manifest is damaged") from None
