"""The pages show what scripts/bench has measured, by its rows in scripts/bench.jsonl; and what it makes of rows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench_report import KEPT, PAGES, Row, load, markdown, plots, renewed, save, svg

from tests.readme import README, read

ROWS = [
    Row("`exec`", [8.0, 9.0, 30.0], "`uv run`", [10.0, 10.0, 10.0], 0.85, "ms", part="start", about="Monday"),
    Row("small `build`", [0.6, 0.7], "uv", [0.5, 0.5], 0.15, more=True, part="cold", about="Monday"),
    Row("`key`", [5.0], limit=4.0, part="scale", about="Tuesday"),
    Row("calls", [100.0], "bare Python", [2000.0], unit="calls", part="calls", about="Tuesday"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_the_rows_that_are_kept(page: Path) -> None:
    """Where it doesn't: scripts/bench --publish DIR."""
    text, rows = page.read_text(), load(KEPT)
    assert renewed(text, rows) == text
    for name, plot in plots(text, rows).items():
        assert (KEPT.parent / name).read_text() == plot


def test_the_rows_of_readme_are_rows_of_the_page() -> None:
    shown = re.findall(r"^\|.*\| (?:met|\*\*not met\*\*|) \|$", README.read_text(), re.MULTILINE)
    assert len(shown) == 10
    assert set(shown) <= set(read("speed").splitlines())


def test_what_the_table_says() -> None:
    assert markdown(ROWS).splitlines()[2:] == [
        "| `exec` | 9 ms (8–30) | `uv run` | 10 ms | 0.90 (0.80–3.00) | 0.85 | **not met** |",
        "| small `build` | 0.65 s (0.6–0.7) | uv | 0.5 s | 1.30 (1.20–1.40) | 0.15 s more | met |",
        "| `key` | 5 s |  |  |  | 4 s | **not met** |",
        "| calls | 100 calls | bare Python | 2,000 calls | 1/20 |  |  |",
        "",
        "`start`, `cold`: Monday",
        "`scale`, `calls`: Tuesday",
    ]


def test_a_part_that_is_measured_again_takes_its_place(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    save(file, ROWS)
    again = [replace(ROWS[0], ours=[7.0, 7.0, 7.0])]
    assert markdown(save(file, again)) == markdown([*ROWS[1:], *again]) == markdown(load(file))


def test_a_page_is_renewed_where_all_is_measured() -> None:
    head = "| what | ours | reference | | ours / reference | limit | |\n"
    one, two = "<!-- scripts/bench: start cold [a.svg] -->\nold\n<!-- end -->\n", "<!-- scripts/bench: start first -->\nold\n<!-- end -->\n"
    chosen = "<!-- scripts/bench: -->\n| `exec` | old | `uv run` | old |\n| `exec` | old | pipx | old |\n<!-- end -->\n"
    text = renewed(one + two + chosen, ROWS)
    assert text.startswith(f"<!-- scripts/bench: start cold [a.svg] -->\n\n{head}")
    assert "(../../scripts/a.svg)\n<!-- end -->\n" + two in text, "of `first` there is nothing"
    assert "| `exec` | 9 ms (8–30) | `uv run` | 10 ms |" in text.splitlines()[-3]
    assert text.splitlines()[-2] == "| `exec` | old | pipx | old |"
    assert renewed(text, ROWS) == text
    assert plots(text, ROWS) == {"a.svg": svg(ROWS[:2])}


def test_the_plot_has_a_mark_a_spread_and_a_limit_for_each_ratio() -> None:
    root = ElementTree.fromstring(svg(ROWS))
    shapes = [element.get("class", "").split() for element in root.iter() if element.get("class")]
    legend = 1
    assert shapes.count(["limit"]) == legend + 2
    assert sum("spread" in words for words in shapes) == legend + 2
    assert [shapes.count([kind]) for kind in ("kept", "missed", "plain")] == [legend + 1, legend + 1, legend + 1]
    said = {element.text for element in root.iter() if element.text}
    assert {"0.90, limit 0.85: not kept", "1.30, limit 1.30", "1/20", "Monday", "Tuesday"} <= said
    assert "prefers-color-scheme:dark" in "".join(said)
