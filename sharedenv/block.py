"""Bytes of a script → its raw ``script`` metadata block (PEP 723). Pure; imports nothing, since every start pays for it."""

from __future__ import annotations

OPENING = b"# /// script"
CLOSING = b"# ///"


class BlockError(ValueError):
    """The block can't be read. ``line`` is 1-based, in the script."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Block:
    """One raw block: ``content`` is the TOML inside it (comment prefixes removed), ``line`` the 1-based line of its first TOML line."""

    __slots__ = ("content", "line")

    def __init__(self, content: bytes, line: int) -> None:
        self.content = content
        self.line = line


def find_block(data: bytes) -> Block | None:
    """The ``script`` block of a script, or None when it has none. Raises BlockError when there is one that can't be read."""
    lines = data.split(b"\n")
    found: Block | None = None
    index = 0
    while index < len(lines):
        if lines[index].rstrip(b"\r") != OPENING:
            index += 1
            continue
        first = index
        body: list[bytes] = []
        closing = None
        index += 1
        while index < len(lines):
            line = lines[index].rstrip(b"\r")
            if line != b"#" and not line.startswith(b"# "):
                break
            body.append(line[2:])
            if line == CLOSING:
                closing = len(body) - 1
            index += 1
        if closing is None:
            raise BlockError("the `# /// script` block is never closed by a `# ///` line", first + 1)
        if found is not None:
            raise BlockError("a second `# /// script` block", first + 1)
        found = Block(b"\n".join(body[:closing]) + b"\n", first + 2)
    return found
