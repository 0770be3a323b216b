"""The recipes of a page: the blocks that name the test which holds them."""

from __future__ import annotations

import inspect
from pathlib import Path

from tests.readme import all_blocks, read


def recipes(page: str, kind: str) -> list[str]:
    """The blocks of this kind on a page that name the calling test, at least one."""
    caller = inspect.stack()[1]
    held = f"{Path(caller.filename).name}::{caller.function}"
    found = [block.text for block in all_blocks(read(page)) if block.held == held and block.kind == kind]
    assert found, f"{page}: no block of {kind} is held by {held}"
    return found
