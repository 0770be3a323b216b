"""What every command has beside its own: the options of the frame, taken after it too (`sharedenv status -q`), and examples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from sharedenv.cli.examples import examples
from sharedenv.report.console import Console

_COMPLETED: set[str] = set()  # names of commands that have it all

def completed(command: click.Command, frame: click.Command) -> click.Command:
    """The command, which now takes those of the frame's options that it has no own meaning for, and ends its -h with examples."""
    name = command.name or ""
    if name not in _COMPLETED:
        _COMPLETED.add(name)
        _take_options(command, frame)
        command.epilog = "\n\n".join(filter(None, (command.epilog, f"\b\n{examples(name)}")))
    return command


def _take_options(command: click.Command, frame: click.Command) -> None:
    own = {word for parameter in command.params for word in parameter.opts}
    for parameter in frame.params:
        if isinstance(parameter, click.Option) and parameter.name in _TAKEN and not own.intersection(parameter.opts):
            command.params.append(_after(parameter))


def _after(option: click.Option) -> click.Option:
    # no variable, and no line in the command's own --help: it is the frame's
    return click.Option(
        [*option.opts, option.name or ""],
        type=option.type,
        is_flag=option.is_flag,
        metavar=option.metavar,
        hidden=True,
        expose_value=False,
        default=None,
        callback=_TAKEN[option.name or ""],
    )


def _replace(context: click.Context, **fields: Any) -> None:
    root = context.find_root()
    assert isinstance(root.obj, Console)
    context.obj = root.obj = replace(root.obj, **fields)


def _pool(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        _replace(context, pool=value)
        context.find_root().params["pool"] = value  # for who completes a command line


def _color(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        _replace(context, color=value)


def _quiet(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        _replace(context, verbosity=-1)


def _verbose(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        _replace(context, verbosity=1)


_TAKEN = {"pool": _pool, "color": _color, "quiet": _quiet, "verbose": _verbose}
