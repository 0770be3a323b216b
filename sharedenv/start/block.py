"""Bytes of a script → its raw ``script`` metadata block (PEP 723), with uv's verdict where the standard leaves room.

Pure, and imports nothing: every start of ``exec`` pays for it.

The whole file has to be read: uv refuses a second block, or a byte that is no UTF-8, *anywhere* in it, so whoever
stopped behind the block would run what uv, and the full way in, refuse. What follows the block is searched, not split
into lines (about a millisecond a megabyte), and Python is about to read the same bytes.

Where uv is stricter than the standard's reference regex, uv decides, since it is what installs:

- only the first ``# /// script`` in the file counts, wherever it stands: indented, in a string, or with text behind it,
  it hides a good block below;
- a closing line that is only nearly ``# ///`` doesn't close, and an opening line that is only nearly one doesn't open;
- a byte order mark before the opening line hides it.

Where uv is laxer: a ``script`` block counts inside a block of another type, and a second one doesn't count while it is
not closed.
"""

OPENING = b"# /// script"
CLOSING = b"# ///"
_TYPE = b"# /// "
_NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"


class BlockError(ValueError):
    """The block can't be read. ``line`` is 1-based, in the script."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Block:
    """One raw block.

    content  the TOML in it: comment prefixes removed, lines ended by ``\\n`` whatever the file's ends are, UTF-8
    line     the 1-based line of its first TOML line in the script
    """

    __slots__ = ("content", "line")

    def __init__(self, content: bytes, line: int) -> None:
        self.content = content
        self.line = line


def find_block(data: bytes) -> "Block | None":
    """The ``script`` block of a script's bytes (all of them), or None when it has none.

    Raises BlockError when a block was meant that uv would not take, or would not see.
    """
    start = data.find(OPENING)
    if start < 0:
        return None
    end = start + len(OPENING)
    alone = start == 0 or data[start - 1] in b"\r\n"
    if not alone or not (data.startswith((b"\n", b"\r\n"), end) or end == len(data)):
        _explain_opening(data, start, alone)
        return None
    first = _line_at(data, start) + 1
    lines, stop = _comment_lines(data, data.find(b"\n", end) + 1 or len(data))
    _require_utf8(data)
    for index in range(len(lines) - 1, -1, -1):  # the last one closes: the standard's words
        if lines[index] == CLOSING:
            break
    else:
        raise _unclosed(data, lines, stop, first)
    _refuse_second(data, stop, first + len(lines))
    return Block(b"\n".join([line[2:] for line in lines[:index]]) + b"\n", first)


def _comment_lines(data: bytes, position: int) -> tuple[list[bytes], int]:
    """The lines from ``position`` on that are ``#`` or start with ``# ``, and where the first other line starts."""
    lines = []
    size = len(data)
    while position < size:
        end = data.find(b"\n", position)
        if end < 0:
            line, following = data[position:], size  # a lone \r at the end of the file is no end of a line
        else:
            line, following = data[position : end - (data[end - 1] == 13)], end + 1
        if not line.startswith(b"# ") and line != b"#":
            break
        lines.append(line)
        position = following
    return lines, position


def _refuse_second(data: bytes, stop: int, line: int) -> None:
    """Raises BlockError when a second closed block follows, from ``stop`` on, which is where line ``line`` starts.

    The comment lines between the closing line and ``stop`` can't hold one: its closing line would have been the first
    block's. A block of another type is passed over as a whole: its content is its own.
    """
    if not _has_line(data, OPENING, stop):
        return
    *whole, last = data[stop:].split(b"\n")
    lines = [text.removesuffix(b"\r") for text in whole] + [last]
    index = 0
    while index < len(lines):
        opening = lines[index]
        name = opening[len(_TYPE) :]
        index += 1
        if not opening.startswith(_TYPE) or not name or name.strip(_NAME):
            continue
        first, closed = index, False
        while index < len(lines) and (lines[index].startswith(b"# ") or lines[index] == b"#"):
            closed = lines[index] == CLOSING
            index += 1
        if closed and opening == OPENING:
            raise BlockError("a second `# /// script` block starts here; a script may have one", line + first - 1)


def _require_utf8(data: bytes) -> None:
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        message = "a byte here is not UTF-8, which uv asks of the whole file"
        raise BlockError(message, _line_at(data, error.start)) from None


def _unclosed(data: bytes, lines: list[bytes], stop: int, first: int) -> BlockError:
    for number, line in enumerate(lines, first):
        if line.startswith(CLOSING):
            return BlockError("the closing line must be `# ///` and nothing else", number)
    if _has_line(data, CLOSING, stop):
        message = "this line breaks the block off before its `# ///`: each line of it must be `#` or start with `# `"
        return BlockError(message, first + len(lines))
    return BlockError("the `# /// script` block is never closed by a line `# ///`", first - 1)


def _explain_opening(data: bytes, start: int, alone: bool) -> None:
    """Raises BlockError when the first ``# /// script`` stands where a block was meant, or hides one."""
    line = _line_at(data, start)
    begin = max(data.rfind(b"\n", 0, start), data.rfind(b"\r", 0, start)) + 1
    before = data[begin:start]
    if alone:
        name = data[start + len(OPENING) :].split(b"\n", 1)[0]
        if not name.strip():
            raise BlockError("the opening line must be `# /// script` and nothing else; white space follows it", line)
        if name[:1].isspace():
            raise BlockError("the opening line must be `# /// script` and nothing else", line)
    elif before == b"\xef\xbb\xbf":
        raise BlockError("a byte order mark stands before `# /// script`, which hides the block from uv", line)
    elif not before.strip():
        raise BlockError("`# /// script` is indented; it must start its line", line)
    if _has_line(data, OPENING, start):
        message = "`# /// script` occurs here before the block's own opening line, and uv looks at the first alone"
        raise BlockError(message, line)


def _has_line(data: bytes, line: bytes, start: int) -> bool:
    """Whether this line stands somewhere behind the one at ``start``."""
    if data.find(line, start) < 0:  # one search for nearly all files
        return False
    line = b"\n" + line
    return data.find(line + b"\n", start) >= 0 or data.find(line + b"\r\n", start) >= 0 or data.endswith(line)


def _line_at(data: bytes, position: int) -> int:
    """The 1-based line of a position, as Python counts: ``\\n``, ``\\r\\n`` and a lone ``\\r`` end a line."""
    line = data.count(b"\n", 0, position) + 1
    if data.find(b"\r", 0, position) >= 0:
        line += data.count(b"\r", 0, position) - data.count(b"\r\n", 0, position)
    return line
