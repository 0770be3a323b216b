"""Payload → what uv is given: equal keys are built from equal bytes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sharedenv.key import Payload
from sharedenv.settings import Settings


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files and variables of one `uv sync --script`."""

    script: str  # text of the canonical script
    config: str = ""  # text of the uv.toml it is built with
    variables: Mapping[str, str] = field(default_factory=dict)  # UV_* to set; secrets may be here, never in a payload


def build_inputs(payload: Payload, settings: Settings) -> Inputs:
    """What the builder hands to uv for a payload; secrets left out of the payload come from ``settings``."""
    document = payload.document
    lines = ["# /// script"]
    if document["requires-python"]:
        lines.append(f"# requires-python = {json.dumps(document['requires-python'])}")
    lines.append(f"# dependencies = {json.dumps(document['dependencies'])}")
    lines.append("# ///")
    return Inputs("\n".join(lines) + "\n", "", dict(settings.variables))
