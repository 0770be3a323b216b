"""The options before the command, taken after it too: `sharedenv status -q`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from sharedenv.report.console import Console


def take_frame_options(command: click.Command, frame: click.Command) -> click.Command:
    """The command, which now takes those of the frame's options that it has no own meaning for."""
    own = {word for parameter in command.params for word in parameter.opts}
    for parameter in frame.params:
        if isinstance(parameter, click.Option) and parameter.name in _TAKEN and not own.intersection(parameter.opts):
            command.params.append(_after(parameter))
    return command


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
