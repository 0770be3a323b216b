"""What the command line's frame needs, and no more: `--help` loads this and no room of the house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from sharedenv.report.console import Console

Function = Callable[..., Any]


def option(*names: str, **attributes: Any) -> Callable[[Function], Function]:
    """click.option whose environment variable is SHAREDENV_ and its long name, as for every option of every command."""
    long = next(name for name in names if name.startswith("--"))
    attributes.setdefault("envvar", "SHAREDENV_" + long.split("/")[0].strip("-").upper().replace("-", "_"))
    return click.option(*names, **attributes)


@dataclass(frozen=True, slots=True)
class Globals:
    """The options that stand before the command."""

    pool: str | None
    console: Console
