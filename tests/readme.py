"""The README as data: its blocks, and what is left of a text when figures, keys and paths are taken out."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def section(title: str) -> str:
    """The text under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def blocks(text: str, kind: str) -> list[str]:
    """The fenced blocks of one kind (console, bash, text)."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


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
    line = re.sub(r"\b[0-9a-f]{12}\b", "KEY", line)
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
