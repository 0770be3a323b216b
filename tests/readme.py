"""The README and the pages in sharedenv/docs as data: their sections and blocks, and lines without figures, keys and paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
DOCS = README.parent / "sharedenv" / "docs"
#: name → file: README and every page
PAGES = {"README": README, **{path.stem: path for path in sorted(DOCS.glob("*.md"))}}

_BLOCK = re.compile(r"^(?:<!-- (held by|before:) ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    kind    console, bash, python or text
    held    the test that holds it, as `test_file.py::test_name`; "" where it is run as it stands (test_pages.py)
    before  what is typed before it, out of the reader's sight
    """

    kind: str
    text: str
    held: str
    before: str


def read(page: str) -> str:
    """The text of a page."""
    return PAGES[page].read_text()


def section(title: str, page: str = "README") -> str:
    """The text under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", read(page), re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def all_blocks(text: str) -> list[Block]:
    """The fenced blocks, in order."""
    return [
        Block(kind, block, held=said if how == "held by" else "", before=said if how == "before:" else "")
        for how, said, kind, block in _BLOCK.findall(text)
    ]


def blocks(text: str, kind: str) -> list[str]:
    """The fenced blocks of one kind (console, bash, text)."""
    return [block.text for block in all_blocks(text) if block.kind == kind]


def commands(block: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, without their comments, each with the lines that it is shown to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((re.sub(r"\s+#.*", "", line[2:]), []))
        else:
            found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """A line without what differs from run to run: `built environment KEY in TIME: Python N, N package`."""
    line = re.sub(r"\S*/project(?=[/ ]|$)", "PROJECT", line)
    line = re.sub(r"\b[0-9a-f]{12}(?:[0-9a-f]{52})?\b", "KEY", line)
    line = re.sub(r"\b\d{8}-\d{6}(-\d+)?\b", "RUN", line)
    line = re.sub(r"(?<= )[+-](?=\d)", "", line)
    line = re.sub(r"\d[\d,]*(\.\d+)*", "N", line)
    line = re.sub(r"(N (h|min) )*N (ms|s|min|h)\b", "TIME", line)
    line = re.sub(r"N (B|kB|MB|GB)\b", "SIZE", line)
    return re.sub(r"\b(environment|file|package|script|task|run)s\b", r"\1", line)


def assert_printed(shown: list[str], printed: str) -> None:
    """Each line shown is among those printed, in this order; `…` stands for any number of lines."""
    rest = iter(map(shape, printed.splitlines()))
    for line in shown:
        if line != "…":
            assert shape(line) in rest, f"not printed, or not there: {line}\n{printed}"
