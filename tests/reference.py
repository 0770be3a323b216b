"""The page sharedenv/docs/reference.md, made from the commands: scripts/reference writes it."""

from __future__ import annotations

import inspect
import re

import click

from sharedenv.cli.main import COMMANDS, cli

HEAD = """# Every command and option

This page is made from the commands (`scripts/reference`). `sharedenv COMMAND -h` says the same at a terminal.

`sharedenv [OPTIONS] COMMAND …`: the options below are taken before the command and after it, those of a command after it. In brackets is the variable that sets an
option: `SHAREDENV_JOBS=8`. What is typed comes first. TIME is seconds, or a number with a unit: `90`, `10m`, `1.5h`, `2d`. Exit codes are in
[files](files.md).
"""


def reference() -> str:
    """The page."""
    frame = click.Context(cli, info_name="sharedenv")
    parts = [HEAD, "\n", _options(cli, frame)]
    for name in COMMANDS:
        command = cli.get_command(frame, name)
        assert command is not None
        context = command.context_class(command, info_name=name, parent=frame)
        usage = " ".join(["sharedenv", name, *command.collect_usage_pieces(context)])
        text = _marked(inspect.cleandoc(command.help or ""))
        parts.append(f"\n## {name}\n\n`{usage}`\n\n{text}\n\n{_options(command, context)}")
    return "".join(parts).rstrip("\n") + "\n"


def _options(command: click.Command, context: click.Context) -> str:
    """An item for each option, in the order of -h; without those that every command has."""
    lines = []
    for option in command.get_params(context):
        if isinstance(option, click.Option) and "--help" not in option.opts and not option.hidden:
            value = "" if option.is_flag else f" {_value(option)}"
            variable = f" [`{option.envvar}`]" if option.envvar else ""
            lines.append(f"- `{', '.join(sorted(option.opts, key=len))}{value}`{variable}: {_said(option)}\n")
    return "".join(lines)


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    return "|".join(option.type.choices) if isinstance(option.type, click.Choice) else "N"


def _said(option: click.Option) -> str:
    """Its line of help, and its default where click adds it."""
    shown = option.show_default and not option.is_flag and option.default is not None
    return _marked(option.help or "") + (f" [default: {option.default}]" if shown else "")


def _marked(text: str) -> str:
    """A quoted pattern as code: its asterisks are no emphasis."""
    return re.sub(r"'[^' ]*\*[^' ]*'", r"`\g<0>`", text)
