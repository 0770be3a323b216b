"""Payload → what uv is given: equal keys are built from equal bytes. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sharedenv.key import Payload
from sharedenv.requirement import merge, parse_requirement
from sharedenv.secret import split_url
from sharedenv.settings import Settings


@dataclass(frozen=True, slots=True, repr=False)
class Inputs:
    """The files and variables of one `uv sync --script`.

    Files may hold credentials: they are written with mode 0600 and are gone before the environment is published. uv gets no
    UV_* variable but ``variables``, and ``config`` by ``--config-file``, which keeps it from looking for any other.
    """

    script: str  # text of the canonical script
    config: str = ""  # text of the uv.toml it is built with
    variables: Mapping[str, str] = field(default_factory=dict)  # UV_* to set; secrets may be here, never in a payload
    lock: bytes | None = None  # bytes of `<canonical script>.lock`; sync wants --locked with it
    secrets: tuple[str, ...] = ()  # what must not be seen in a log or a message: see secret.redact
    notes: Mapping[str, Any] = field(default_factory=dict)  # for the manifest: what of the user's configuration was needed


def build_inputs(payload: Payload, settings: Settings) -> Inputs:
    """What the builder hands to uv for a payload; secrets left out of the payload come from ``settings``."""
    document = payload.document
    options = _with_constraints(document) if document["lock"] is None else dict(document["tool.uv"])
    restored = _restored({**document, "tool.uv": {**options, **payload.aside.options}}, settings.root, payload.aside.urls)
    secrets = [split_url(url)[1] for url in [*payload.aside.urls.values(), *settings.urls.values()]]
    return Inputs(
        script=block_text(restored),
        config=toml_text(settings.config),
        variables=dict(settings.variables),
        lock=payload.aside.lock,
        secrets=tuple({line for secret in [*secrets, *settings.secrets] for line in secret.splitlines() if line}),
        notes=dict(settings.notes),
    )


def canonical_script(payload: Payload, root: str) -> str:
    """The script that says what the payload says, paths absolute: its payload, in any folder, is this one again."""
    return block_text(_restored(payload.document, root, {}))


def block_text(document: Mapping[str, Any]) -> str:
    """The metadata block of a document, as a whole script."""
    lines = []
    if document["requires-python"]:
        lines.append(f"requires-python = {_toml(document['requires-python'])}")
    lines.append(f"dependencies = {_toml(document['dependencies'])}")
    if document["tool.uv"]:
        lines += ["[tool.uv]", *toml_text(document["tool.uv"]).splitlines()]
    return "".join(f"{line}\n" for line in ["# /// script", *(f"# {line}" for line in lines), "# ///"])


def toml_text(table: Mapping[str, Any]) -> str:
    """A table as TOML, one line a key."""
    return "".join(f"{name} = {_toml(value)}\n" for name, value in sorted(table.items()))


#: settings of the environment → the option of the canonical script that has their effect (uv reads them for `uv pip` alone)
_FILES = {
    "UV_CONSTRAINT": "constraint-dependencies",
    "UV_OVERRIDE": "override-dependencies",
    "UV_BUILD_CONSTRAINT": "build-constraint-dependencies",
    "UV_EXCLUDE": "exclude-dependencies",
}


def _with_constraints(document: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(document["tool.uv"])
    for variable, option in _FILES.items():
        if more := document["settings"].get(variable):
            here = options.get(option, [])
            texts = [*more, *(item for item in here if isinstance(item, str))]
            merged = sorted(set(texts)) if option.startswith("exclude") else merge(map(parse_requirement, texts))
            options[option] = [*merged, *(item for item in here if not isinstance(item, str))]
    return options


def _restored(document: Mapping[str, Any], root: str, urls: Mapping[str, str]) -> dict[str, Any]:
    """A document with absolute paths and, for a build, credentials back in its URLs."""
    options = dict(document["tool.uv"])
    for name in ("find-links", "extra-index-url"):
        if name in options:
            options[name] = [_place(item, root, urls) for item in options[name]]
    if "index-url" in options:
        options["index-url"] = _place(options["index-url"], root, urls)
    if "index" in options:
        options["index"] = [{**index, "url": _place(index["url"], root, urls)} for index in options["index"]]
    if "sources" in options:
        sources = options["sources"].items()
        options["sources"] = {name: [_source(source, root, urls) for source in entries] for name, entries in sources}
    if options.get("exclude-newer") == "false":
        options["exclude-newer"] = False
    return {**document, "tool.uv": options, "dependencies": [_with_url(text, urls) for text in document["dependencies"]]}


def _place(location: str, root: str, urls: Mapping[str, str]) -> str:
    if location == "." or location.startswith("./"):
        return os.path.normpath(os.path.join(root, location))
    return urls.get(location, location)


def _source(source: Mapping[str, Any], root: str, urls: Mapping[str, str]) -> dict[str, Any]:
    restored = dict(source)
    for name in ("path", "workspace", "git", "url"):
        if isinstance(restored.get(name), str) and not (name == "path" and "git" in source):
            restored[name] = _place(restored[name], root, urls)
    return restored


def _with_url(text: str, urls: Mapping[str, str]) -> str:
    url = parse_requirement(text).url
    return text.replace(f" @ {url}", f" @ {urls[url]}", 1) if url in urls else text


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_string(name)} = {_toml(item)}" for name, item in sorted(value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _string(value) if isinstance(value, str) else str(value)


def _string(text: str) -> str:
    # a JSON string is a TOML basic string, but for DEL
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
