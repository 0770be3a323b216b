"""The canonical document of all that decides what is installed, its key, and what goes with it unseen. Pure; make.py makes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from sharedenv.key.versions import Versions
from sharedenv.script.metadata import Metadata
from sharedenv.start.fingerprint import sha256
from sharedenv.values import frozen


@frozen
class Aside:
    """What a build needs beside the payload and no key sees: never written into a manifest, a log or a message."""

    urls: Mapping[str, str] = field(default_factory=dict)  # URL without credentials → the URL with them
    options: Mapping[str, Any] = field(default_factory=dict)  # inert options of [tool.uv], such as keyring-provider
    lock: bytes | None = None  # the lock file's bytes
    versions: Versions | None = None  # what sharedenv.lock says that it installs
    reinstall: tuple[str, ...] | None = ()  # packages whose local sources are looked at by each command that builds; None: all


@frozen
class Payload:
    """The canonical JSON document and its sha256."""

    text: str  # JSON, sorted keys, no spaces
    key: str  # 64 hex digits
    bound: bool = field(default=False, compare=False)  # it names places relative to the script's folder: elsewhere it is another
    unlocked: str = field(default="", compare=False)  # why sharedenv.lock, which there is, does not cover it
    late: Aside | Callable[[], Aside] = field(default=Aside(), compare=False, repr=False)  # what `aside` gives, or how to get it

    @property
    def document(self) -> dict[str, Any]:
        """The document as a value; each call gives a fresh copy."""
        value: dict[str, Any] = json.loads(self.text)
        return value

    @property
    def aside(self) -> Aside:
        """What a build needs beside it. Of a payload that was looked up, not made, it is made now: raises ScriptError, OSError."""
        return self.late if isinstance(self.late, Aside) else self.late()


#: metadata, absolute path and lock file of a script → its payload; raises ScriptError
Maker = Callable[[Metadata, str, bytes | None], Payload]


def payload_from(document: Mapping[str, Any], aside: Aside | None = None, *, bound: bool = False, unlocked: str = "") -> Payload:
    """The payload of a document: what is written in a manifest gives back the same key."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Payload(text, sha256(text.encode()).hexdigest(), bound, unlocked, aside or Aside())
