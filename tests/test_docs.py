"""The pages in sharedenv/docs: behind each difference that they list stands a test, and README leads to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import test_from_uv_run
from tests.readme import README

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "sharedenv" / "docs"
PAGE = (DOCS / "from-uv-run.md").read_text()

#: an item and all its lines, to the next one, a heading or the end
ITEMS = re.findall(r"^- (.+?)(?=\n- |\n\n|\n?\Z)", PAGE, re.MULTILINE | re.DOTALL)
_HELD = re.compile(r"<!-- (test_\w+\.py)::(test_\w+) -->\Z")


def test_each_difference_has_its_item() -> None:
    assert len(ITEMS) == len(re.findall(r"^- ", PAGE, re.MULTILINE)) >= 40
    assert len(re.findall("<!--", PAGE)) == len(ITEMS)


@pytest.mark.parametrize("item", ITEMS, ids=[item[:40] for item in ITEMS])
def test_a_test_stands_behind_each_difference(item: str) -> None:
    held = _HELD.search(item)
    assert held, "it ends with no test: <!-- test_file.py::test_name -->"
    assert re.search(rf"^def {held[2]}\(", (TESTS / held[1]).read_text(), re.MULTILINE), held[0]


def test_no_test_of_a_difference_is_left_unnamed() -> None:
    here = {name for name in vars(test_from_uv_run) if name.startswith("test_")}
    assert {found[2] for item in ITEMS if (found := _HELD.search(item)) and found[1] == "test_from_uv_run.py"} == here


def test_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(sharedenv/docs/([\w-]+\.md)\)", README.read_text()))
    assert linked == {path.name for path in DOCS.iterdir()}
