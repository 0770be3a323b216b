"""Script + Settings → payload → key. Pure. Normal forms: requirement.py (alone with packaging), tool_uv.py."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sharedenv.lock import places
from sharedenv.requirement import RequirementError, admits, merge, parse_requirement, parse_specifiers
from sharedenv.script import Metadata, ScriptError
from sharedenv.settings import Settings
from sharedenv.tool_uv import INERT, OptionError, Place, normal_options

__all__ = ["SCHEMA", "Aside", "Payload", "admits", "make_payload", "moves", "payload_from"]

SCHEMA = 1

#: inert options of a script that a build may need to succeed; the others are the builder's to decide
_CARRIED = frozenset(INERT) - frozenset(
    ["cache-dir", "compile-bytecode", "link-mode", "reinstall", "reinstall-package", "upgrade", "upgrade-package"]
)


@dataclass(frozen=True, slots=True)
class Aside:
    """What a build needs beside the payload and no key sees: never written into a manifest, a log or a message."""

    urls: Mapping[str, str] = field(default_factory=dict)  # URL without credentials → the URL with them
    options: Mapping[str, Any] = field(default_factory=dict)  # inert options of [tool.uv], such as keyring-provider
    lock: bytes | None = None  # the lock file's bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """The canonical JSON document of all that decides what is installed, and its sha256."""

    text: str  # JSON, sorted keys, no spaces
    key: str  # 64 hex digits
    aside: Aside = field(default=Aside(), compare=False, repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The document as a value; each call gives a fresh copy."""
        value: dict[str, Any] = json.loads(self.text)
        return value


def make_payload(metadata: Metadata, folder: str, lock: bytes | None, settings: Settings) -> Payload:
    """The payload of one script in ``folder`` (absolute), with the bytes of its lock file. Raises ScriptError."""
    urls: dict[str, str] = {}
    place = Place(folder, settings.root, urls)
    document = {
        "schema": SCHEMA,
        "requires-python": _requires_python(metadata),
        "dependencies": _dependencies(metadata, urls),
        "tool.uv": _options(metadata, place),
        "lock": None if lock is None else "sha256:" + hashlib.sha256(lock).hexdigest(),
        "python": settings.python,
        "settings": dict(settings.counted),
        "platform": settings.platform,
    }
    if lock is not None and (named := places(lock)):
        # the same bytes beside two scripts can mean two things
        document["lock-places"] = sorted({place.canonical(path) for path in named})
    options = {name: value for name, value in metadata.uv.items() if name in _CARRIED}
    return payload_from(document, Aside(urls, options, lock))


def payload_from(document: Mapping[str, Any], aside: Aside | None = None) -> Payload:
    """The payload of a document: what is written in a manifest gives back the same key."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Payload(text, hashlib.sha256(text.encode()).hexdigest(), aside or Aside())


def moves(payload: Payload) -> bool:
    """Whether what is installed can change under one key: local folders and files, git without a full commit."""
    document = payload.document
    options = document["tool.uv"]
    sources = [source for entries in options.get("sources", {}).values() for source in entries]
    if any(_source_moves(source) for source in sources):
        return True
    texts = list(document["dependencies"])
    for name in ("constraint-dependencies", "override-dependencies"):
        texts += [item for item in options.get(name, []) if isinstance(item, str)]
    return any(_url_moves(parse_requirement(text).url) for text in texts)


_COMMIT = re.compile(r"[0-9a-f]{40}")


def _source_moves(source: Mapping[str, Any]) -> bool:
    if "git" in source:
        return _COMMIT.fullmatch(str(source.get("rev", ""))) is None
    return "path" in source or "workspace" in source


def _url_moves(url: str) -> bool:
    if url.startswith("git+"):
        return _COMMIT.fullmatch(url.partition("#")[0].rpartition("@")[2]) is None
    return url.startswith("file:")


def _requires_python(metadata: Metadata) -> str:
    try:
        return parse_specifiers(metadata.requires_python or "")
    except RequirementError as error:
        raise ScriptError(str(error), field="requires-python") from None


def _dependencies(metadata: Metadata, urls: dict[str, str]) -> list[str]:
    entries = []
    for index, text in enumerate(metadata.dependencies):
        try:
            entries.append(parse_requirement(text))
        except RequirementError as error:
            raise ScriptError(str(error), field=f"dependencies[{index}]") from None
    return merge(entry.without_credentials(urls) for entry in entries)


def _options(metadata: Metadata, place: Place) -> dict[str, Any]:
    try:
        return normal_options(metadata.uv, place)
    except OptionError as error:
        raise ScriptError(error.message, field=f"tool.uv.{error.option}") from None
