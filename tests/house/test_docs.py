"""The pages in sharedenv/docs: behind each item of those that list faults and differences stands a test; links lead somewhere; they
are shipped, and what is generated is up to date.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.test_architecture import MAY_IMPORT
from tests.readme import DOCS, PAGES, README, read, section
from tests.reference import reference
from tests.start import test_from_uv_run

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
#: pages whose items each end with the test that stands behind them, up to the heading that begins what has none
HELD = {"faults": "## What is not tested", "from-uv-run": ""}

#: an item and all its lines, to the next one, a heading or the end
_ITEM = re.compile(r"^- (.+?)(?=\n- |\n\n|\n?\Z)", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"<!-- (test_\w+\.py)::(test_\w+) -->\Z")


def items(page: str) -> list[str]:
    """The items of a page that tests stand behind."""
    text = read(page)
    return _ITEM.findall(text.partition(HELD[page])[0] if HELD[page] else text)


def _file(name: str) -> Path:
    """A file of tests by its name: which folder it is in is not said."""
    [found] = TESTS.rglob(name)
    return found


def assert_test_exists(file: str, name: str) -> None:
    """There is a test of this name in this file."""
    assert re.search(rf"^def {name}\(", _file(file).read_text(), re.MULTILINE), f"{file}::{name}"


@pytest.mark.parametrize("page", HELD)
def test_each_has_its_item(page: str) -> None:
    text = read(page).partition(HELD[page])[0] if HELD[page] else read(page)
    assert len(items(page)) == len(re.findall(r"^- ", text, re.MULTILINE)) >= 40
    assert len(re.findall("<!--", text)) == len(items(page))


@pytest.mark.parametrize(("page", "item"), [(page, item) for page in HELD for item in items(page)], ids=lambda text: text[:40])
def test_a_test_stands_behind_each(page: str, item: str) -> None:
    held = _TEST.search(item)
    assert held, "it ends with no test: <!-- test_file.py::test_name -->"
    assert_test_exists(held[1], held[2])


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    for file, name in re.findall(r"<!-- (?:held by )?(test_\w+\.py)::(test_\w+) -->", read(page)):
        assert_test_exists(file, name)


def test_no_test_of_a_difference_is_left_unnamed() -> None:
    here = {name for name in vars(test_from_uv_run) if name.startswith("test_")}
    assert {found[2] for item in items("from-uv-run") if (found := _TEST.search(item)) and found[1] == "test_from_uv_run.py"} == here


def test_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(sharedenv/docs/([\w-]+\.md)(?:#[\w-]+)?\)", README.read_text()))
    assert linked == {path.name for path in DOCS.iterdir()}


@pytest.mark.parametrize("path", [*PAGES.values(), TESTS / "README.md", ROOT / "scripts" / "README.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([\w-]+))?\)", path.read_text()):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{path.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, f"{path.name}: #{anchor}"


def test_the_reference_is_what_the_commands_say() -> None:
    """Where it isn't: scripts/reference."""
    assert reference() == read("reference")


def test_lines_of_pages_are_not_longer_than_editors_are_wide() -> None:
    # the reference is made from the commands, a line an option
    long = {f"{name}:{number}" for name in PAGES.keys() - {"reference"} for number, line in enumerate(read(name).splitlines(), 1)
            if len(line) > 160 and not line.startswith("|") and "](" not in line}
    assert not long


def test_the_rooms_of_the_design_are_those_of_the_architecture() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section("Rooms", "design").partition("Where to look")[0], re.MULTILINE)
    assert {room for row in rows for room in re.findall(r"`(\w+)`", row)} == MAY_IMPORT.keys()


@pytest.mark.parametrize("page", ["design", "facts", "faults"])
def test_the_files_that_developers_are_sent_to_are_there(page: str) -> None:
    for name in re.findall(r"`(\w+/[\w/]+\.(?:py|md))`|\b(tests/\w+\.py)", read(page)):
        path = "".join(name)
        assert (ROOT / path).exists() or (ROOT / "sharedenv" / path).exists(), path
