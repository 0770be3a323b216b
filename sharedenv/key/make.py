"""Script + Settings → payload → key. Pure. Normal forms: requirement.py (alone with packaging), tool_uv.py."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from sharedenv.key.payload import Aside, Maker, Payload, payload_from
from sharedenv.key.project_lock import NAME, NotLocked, digest
from sharedenv.key.readers import Base
from sharedenv.key.requirement import RequirementError, admits, leaves_room, merge, normal_name, parse_requirement, parse_specifiers
from sharedenv.key.settings import Settings
from sharedenv.key.tool_uv import INERT, OptionError, normal_options
from sharedenv.key.versions import Versions
from sharedenv.script.metadata import Metadata, ScriptError
from sharedenv.script.uv_lock import places, without_credentials
from sharedenv.start.fingerprint import sha256

__all__ = ["SCHEMA", "admits", "local_packages", "make_payload", "maker", "may_be", "moves"]

SCHEMA = 1

#: inert options of a script that a build may need to succeed; the others are the builder's to decide
_CARRIED = frozenset(INERT) - frozenset(
    ["cache-dir", "compile-bytecode", "reinstall", "reinstall-package", "upgrade", "upgrade-package"]
)


def maker(settings: Settings) -> Maker:
    """How to make the payload of a script in these settings, for `make_plan`."""
    return lambda metadata, path, lock: make_payload(metadata, os.path.dirname(path), lock, settings)


def make_payload(metadata: Metadata, folder: str, lock: bytes | None, settings: Settings) -> Payload:
    """The payload of one script in ``folder`` (absolute), with the bytes of its lock file. Raises ScriptError."""
    urls: dict[str, str] = {}
    place = Base(folder, settings.root, urls)
    requires = _requires_python(metadata)
    yields = settings.pinned and settings.python is not None and not leaves_room(requires, settings.python)
    document = {
        "schema": SCHEMA,
        "requires-python": requires,
        "dependencies": _dependencies(metadata, urls),
        "tool.uv": _options(metadata, place),
        "lock": None if lock is None else "sha256:" + sha256(without_credentials(lock)).hexdigest(),
        "python": None if yields else settings.python,
        "settings": dict(settings.counted),
        "platform": settings.platform,
    }
    if lock is not None and (named := places(lock)):
        # the same bytes beside two scripts can mean two things
        document["lock-places"] = _lock_places(named, place)
    options = {name: value for name, value in metadata.uv.items() if name in _CARRIED}
    versions, unlocked = _locked(document, settings) if lock is None else (None, "")
    if versions is not None:
        document[NAME] = f"sha256:{digest(versions)}"
    return payload_from(document, Aside(urls, options, lock, versions, _reinstall(metadata)), bound=bool(place.relative), unlocked=unlocked)


def _locked(document: Mapping[str, Any], settings: Settings) -> tuple[Versions | None, str]:
    """What sharedenv.lock, where there is one, says that a document installs; and why it does not cover it."""
    if settings.lock is None:
        return None, ""
    request = document["python"]
    try:
        return settings.lock.find(document).choose(settings.platform, partial(may_be, request)), ""
    except NotLocked as error:
        return None, str(error)


def may_be(request: str | None, python: str) -> bool:
    """Whether a request for a Python can lead to one of a minor version such as 3.11; of a path only the Python itself can tell."""
    if request and request[0] in "<>=!~":
        return leaves_room(parse_specifiers(request), python)
    return request is None or leaves_room(f"=={python}.*", request)


def moves(payload: Payload) -> bool:
    """Whether what is installed can change under one key: local folders and files, git without a full commit; not where it is locked."""
    return NAME not in payload.document and (bool(local_packages(payload)) or any(map(_is_moving_branch, _origins(payload))))


def local_packages(payload: Payload) -> list[str]:
    """Names of the packages that come from this machine's folders and files, sorted."""
    return sorted({name for name, source in _origins(payload) if _is_local(source)})


def _origins(payload: Payload) -> list[tuple[str, Mapping[str, Any]]]:
    """Package and source, for every requirement with a URL and every entry of [tool.uv.sources]."""
    document = payload.document
    options = document["tool.uv"]
    texts = [*document["dependencies"], *options.get("constraint-dependencies", []), *options.get("override-dependencies", [])]
    entries = [parse_requirement(text) for text in texts if isinstance(text, str)]
    found: list[tuple[str, Mapping[str, Any]]] = [(entry.name, {"url": entry.url}) for entry in entries if entry.url]
    return found + [(name, source) for name, sources in options.get("sources", {}).items() for source in sources]


_COMMIT = re.compile(r"[0-9a-f]{40}")


def _is_local(source: Mapping[str, Any]) -> bool:
    if "git" in source:
        return False
    return "path" in source or "workspace" in source or str(source.get("url", "")).startswith(("file:", "/"))


def _is_moving_branch(origin: tuple[str, Mapping[str, Any]]) -> bool:
    source = origin[1]
    if "git" in source:
        return _COMMIT.fullmatch(str(source.get("rev", ""))) is None
    url = str(source.get("url", ""))
    return url.startswith("git+") and _COMMIT.fullmatch(url.partition("#")[0].rpartition("@")[2]) is None


def _reinstall(metadata: Metadata) -> tuple[str, ...] | None:
    if metadata.uv.get("reinstall"):
        return None
    return tuple(map(normal_name, metadata.uv.get("reinstall-package", ())))


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


def _lock_places(named: Iterable[str], place: Base) -> list[str]:
    try:
        return sorted({place.canonical(path) for path in named})
    except RequirementError as error:
        raise ScriptError(f"its lock file: {error}") from None


def _options(metadata: Metadata, place: Base) -> dict[str, Any]:
    try:
        return normal_options(metadata.uv, place)
    except OptionError as error:
        raise ScriptError(error.message, field=f"tool.uv.{error.option}") from None
