"""Lines at the foot of a terminal that are drawn over the ones before."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from sharedenv.report.console import encoded, write_all
from sharedenv.report.wrap import without_styles, wrapped

_NO_WRAP, _WRAP = "\033[?7l", "\033[?7h"  # a line that is wider than we think is cut off by the terminal, and not two lines high
_CLEAR, _TO_END, _BELOW = "\033[H\033[2J", "\033[K", "\033[J"


def fitting(line: str, width: int) -> str:
    """A line, or as much of it as a terminal of so many columns has room for: commands and long names are not broken."""
    plain = without_styles(line)
    return line if len(plain) <= width else plain[: width - 1] + "…"


class Board:
    """What is drawn on stderr, a terminal."""

    def __init__(self) -> None:
        self._height = 0  # of what was drawn last
        self._size = os.terminal_size((0, 0))

    def draw(self, lines: Sequence[str], last: str) -> None:
        """Draws as many of the lines as there is room for, and always the ``last``. Raises OSError when the terminal has gone."""
        size = os.get_terminal_size(sys.stderr.fileno())
        size = os.terminal_size((size.columns or 80, size.lines or 24))
        shown = [fitting(part, size.columns) for line in lines for part in wrapped(line, size.columns).split("\n")]
        if len(shown) > (room := max(size.lines - 2, 1)):
            shown = [*shown[: room - 1], "…"]
        # who makes a terminal narrower moves what is on it, and nobody says where to
        start = _CLEAR if self._height and size != self._size else f"\r\033[{self._height}A" if self._height else ""
        text = "".join(f"{_TO_END}{line}\r\n" for line in (*shown, last))  # behind a line as wide as the terminal it takes the last letter
        write_all(sys.stderr.fileno(), encoded(f"{start}{_NO_WRAP}{text}{_BELOW}{_WRAP}"))
        self._height, self._size = len(shown) + 1, size

    def clear(self) -> None:
        """Takes it off the terminal."""
        if self._height:
            write_all(sys.stderr.fileno(), f"\r\033[{self._height}A{_BELOW}".encode())
            self._height = 0
