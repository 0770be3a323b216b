"""Raw block → Script: what a script asks for, checked field by field (PEP 723). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tomli

from sharedenv.block import Block, BlockError, find_block


class ScriptError(ValueError):
    """One bad script: ``line`` is 1-based (None when the whole file is meant), ``field`` a dotted name such as ``dependencies[2]``."""

    def __init__(self, message: str, *, line: int | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.field = field


@dataclass(frozen=True, slots=True)
class Metadata:
    """A metadata block, parsed but not normalised: the strings are the user's."""

    requires_python: str | None
    dependencies: tuple[str, ...]
    uv: Mapping[str, Any]  # the table [tool.uv], as TOML gave it
    block: Block  # where it came from: errors found later point into it


@dataclass(frozen=True, slots=True)
class Script:
    """One file with a metadata block. ``path`` is absolute."""

    path: str
    metadata: Metadata


def parse_script(data: bytes) -> Metadata:
    """Metadata of a script's bytes. Raises ScriptError."""
    try:
        block = find_block(data)
    except BlockError as error:
        raise ScriptError(error.message, line=error.line) from None
    if block is None:
        raise ScriptError("has no `# /// script` block")
    return parse_block(block)


def parse_block(block: Block) -> Metadata:
    """Metadata of a raw block. Raises ScriptError."""
    try:
        document = tomli.loads(block.content.decode())
    except tomli.TOMLDecodeError as error:
        raise ScriptError(f"the block is not valid TOML: {error}", line=block.line) from None
    requires_python = document.get("requires-python")
    if requires_python is not None and not isinstance(requires_python, str):
        raise ScriptError("requires-python is not a string", line=block.line, field="requires-python")
    dependencies = document.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise ScriptError("dependencies is not a list of strings", line=block.line, field="dependencies")
    uv = document.get("tool", {}).get("uv", {})
    return Metadata(requires_python, tuple(dependencies), uv, block)
