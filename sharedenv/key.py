"""Script + Settings → payload → key. Pure; the only module that uses packaging."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from sharedenv.script import Metadata, ScriptError
from sharedenv.settings import Settings

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Payload:
    """The canonical JSON document of all that decides what is installed, and its sha256."""

    text: str  # JSON, sorted keys, no spaces
    key: str  # 64 hex digits

    @property
    def document(self) -> dict[str, Any]:
        """The document as a value; each call gives a fresh copy."""
        value: dict[str, Any] = json.loads(self.text)
        return value


def make_payload(metadata: Metadata, folder: str, lock: bytes | None, settings: Settings) -> Payload:
    """The payload of one script that lies in ``folder`` (absolute), with the bytes of its lock file. Raises ScriptError."""
    document = {
        "schema": SCHEMA,
        "requires-python": _specifier(metadata.requires_python or ""),
        "dependencies": sorted({_requirement(text, i) for i, text in enumerate(metadata.dependencies)}),
        "tool.uv": dict(metadata.uv),
        "lock": None if lock is None else "sha256:" + hashlib.sha256(lock).hexdigest(),
        "python": settings.python,
        "settings": dict(settings.variables),
        "platform": settings.platform,
    }
    return payload_from(document)


def payload_from(document: Mapping[str, Any]) -> Payload:
    """The payload of a document: what is written in a manifest gives back the same key."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Payload(text, hashlib.sha256(text.encode()).hexdigest())


def admits(requires_python: str, version: str) -> bool:
    """Whether a requires-python (canonical, "" for any) admits this version of Python; pre-releases count as uv counts them."""
    return SpecifierSet(requires_python).contains(version, prereleases=True)


def _specifier(text: str) -> str:
    try:
        return str(SpecifierSet(text))
    except InvalidSpecifier as error:
        raise ScriptError(str(error), field="requires-python") from None


def _requirement(text: str, index: int) -> str:
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        raise ScriptError(str(error), field=f"dependencies[{index}]") from None
