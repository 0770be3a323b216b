"""Lines for a narrow terminal, broken between words: the terminal itself breaks them anywhere. Pure."""

from __future__ import annotations

import re

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_LEAD = re.compile(r"\s*(?:\d+ × )?(?:cause: )?")
#: what is to be copied stays in one line: a line of its own, where it fits into that
_COMMAND = re.compile(r"(?:^|[\s(:])(?:sharedenv|export|unset|sbatch|uv|curl|grep|df|cat) \S|^\s*hint: ")
_BETWEEN = re.compile(r"(?<!\d) | (?!(?:ms|s|min|h|days|B|kB|MB|GB|TB)\b)")  # words: a number is one with its unit
_FEW = 20  # columns, of fewer a number and its unit may not fit
_LED = re.compile(r"(\s*(?:\x1b\[[0-9;]*m)?[^:]+:(?:\x1b\[[0-9;]*m)?) ((?:sharedenv|export|unset) .*)")


def wrapped(text: str, width: int) -> str:
    """The text with no line longer than ``width``, but for words that are and for commands; what goes on is indented as it began."""
    return "\n".join(part for line in text.split("\n") for part in _parts(line, width))


def without_styles(text: str) -> str:
    """The text as it is read."""
    return _STYLE.sub("", text)


def _parts(line: str, width: int) -> list[str]:
    plain = _STYLE.sub("", line)
    if len(plain) <= width:
        return [line]
    if _COMMAND.search(plain):
        led = _LED.fullmatch(line)
        indent = " " * (2 + len(plain) - len(plain.lstrip()))
        return [led[1], indent + led[2]] if led and len(indent) + len(_STYLE.sub("", led[2])) <= width else [line]
    lead = _LEAD.match(plain)
    indent = " " * (lead.end() if lead and lead.end() else 2)
    head = re.match(r"\s*", line)
    parts, current = [], head[0] if head else ""
    empty = True
    for word in _BETWEEN.split(line.strip()) if width >= _FEW else line.strip().split(" "):
        longer = current + ("" if empty else " ") + word
        if not empty and len(_STYLE.sub("", longer)) > width:
            parts.append(current)
            longer = indent + word
        current, empty = longer, False
    return [*parts, current]
