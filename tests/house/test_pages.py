"""Every block of README and of the pages is real: what is typed there is run, and what it prints is held against what is shown."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import Project
from tests.house.test_docs import assert_test_exists
from tests.readme import PAGES, Block, all_blocks, assert_printed, commands, read

#: a script of the suite's, which fails where a file `bad` lies beside it
BODY = "import os; assert not os.path.exists('bad')"
#: pages on which a test of their own runs every block
_APART = {
    "cluster": "test_cluster_page.py::test_every_command_on_the_page",
    "versions": "test_versions_page.py::test_what_the_page_shows_is_what_is_printed",
}


def run_here(page: str) -> list[Block]:
    """The blocks of a page that are run as they stand."""
    return [block for block in all_blocks(read(page)) if not block.held] if page not in _APART else []


@pytest.mark.parametrize("page", [page for page in PAGES if run_here(page)])
def test_what_is_shown_is_what_is_printed(four: Project, page: str) -> None:
    four.copies(12, ["numpy"], BODY)
    four.call("run", "case*/script.py")
    for block in run_here(page):
        if block.before:
            subprocess.run(["bash", "-c", block.before], env=four.env, cwd=four.path, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        for command, shown in commands(block.text):
            assert_printed(shown, four.shell(command))


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_held(page: str) -> None:
    for block in all_blocks(read(page)):
        if page not in _APART:
            assert block.held or block.kind == "console", f"{page}: say above it which test holds it: {block}"
        if block.held:
            assert_test_exists(*block.held.split("::"))


@pytest.mark.parametrize("held", _APART.values())
def test_the_tests_of_whole_pages_are_there(held: str) -> None:
    assert_test_exists(*held.split("::"))
