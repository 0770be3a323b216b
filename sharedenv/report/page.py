"""A page of the manual for who reads it: rendered for a terminal, as it stands for a pipe."""

from __future__ import annotations

import io
import re

_WIDEST = 100  # columns: longer lines are hard to read
#: for tests and for the Markdown of a web page; nothing for a reader
_COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)
_PICTURE = re.compile(r"^!\[.*?\]\(.*?\)\n+", re.MULTILINE)
_OTHER_PAGE = re.compile(r"\[([^]]+)\]\(([\w-]+)\.md(?:#[\w-]+)?\)")
_OTHER_PLACE = re.compile(r"\[([^]]+)\]\([#.][^)]*\)")


def plain(text: str) -> str:
    """The Markdown of a page without comments and pictures; a link to another page becomes the command that shows it."""
    text = _PICTURE.sub("", _COMMENT.sub("", text))
    return _OTHER_PLACE.sub(r"\1", _OTHER_PAGE.sub(_command, text))


def _command(link: re.Match[str]) -> str:
    command = f"`sharedenv help {link[2]}`"
    return command if link[1] == link[2] else f"{link[1]} ({command})"


def rendered(text: str, *, width: int, colored: bool) -> str:
    """A page for a terminal of so many columns."""
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs them
    from rich.markdown import Markdown  # noqa: PLC0415 - as above
    from rich.theme import Theme  # noqa: PLC0415 - as above

    out = io.StringIO()
    theme = Theme({"markdown.code": "bold cyan"})  # rich's own has a black ground
    console = Console(file=out, force_terminal=True, no_color=not colored, width=min(width, _WIDEST), highlight=False, theme=theme)
    console.print(Markdown(plain(text), code_theme="ansi_dark", hyperlinks=False))
    return out.getvalue()
