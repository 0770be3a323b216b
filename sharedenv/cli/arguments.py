"""Values on the command line that click has no type for: durations, and what follows `--`."""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

import click

from sharedenv.start.environ import current_folder

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_ARGUMENTS = "sharedenv.arguments"


def duration(value: str | float) -> float:
    """`90`, `1.5h`, `10m`, `2d`: seconds as a number; a usage error for anything else.

    A function, as click takes one for a type: ParamType is generic in the newest versions of click alone.
    """
    if isinstance(value, float | int):
        return float(value)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(s|m|min|h|d|)", value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no duration: 90 (seconds), 10m, 1.5h, 2d")
    return float(match[1]) * _UNITS[match[2]]


class Jobs(click.IntRange):
    """A number of things at a time."""

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a usage error for anything else, what GNU parallel reckons from the number of CPUs included."""
        text = str(value).strip()
        if text.startswith("+") or text.endswith("%"):  # int("+2") is 2
            how = 'give the number itself, as -j "$(nproc)"'
            self.fail(f"{value!r} counts from the number of CPUs, as GNU parallel does: {how}", param, ctx)
        number: int = super().convert(value, param, ctx)
        return number


def launcher_text(value: str) -> str:
    """The words as they were typed, the first of them absolute where it is a path: cases start in other folders. A usage error for none."""
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no command: {str(error).lower()}") from None
    if not words or not words[0]:
        raise click.BadParameter("a command, such as 'mpirun -n 4', is needed")
    if "/" in words[0] and "{" not in words[0]:
        words[0] = os.path.normpath(os.path.join(current_folder(os.environ), words[0]))
    return shlex.join(words)


class Lines(click.types.StringParamType):
    """Text that may be given several times; in a variable, one a line."""

    envvar_list_splitter = "\n"


class CommandWithArguments(click.Command):
    """A command whose words after the first `--` are the scripts' own: see `script_arguments`."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Its usage, with them."""
        return [*super().collect_usage_pieces(ctx), "[-- ARG...]"]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes them off before click, to whom `--` only ends the options, can mix them with the scripts."""
        if "--" in args:
            where = args.index("--")
            ctx.meta[_ARGUMENTS] = tuple(args[where + 1 :])
            args = args[:where]
        return super().parse_args(ctx, args)


def script_arguments(context: click.Context) -> tuple[str, ...] | None:
    """What followed `--`; None when there was none."""
    found: tuple[str, ...] | None = context.meta.get(_ARGUMENTS)
    return found
