"""The command `sharedenv`: options of every command, and the commands, each loaded when it is called."""

from __future__ import annotations

import importlib
from typing import Any

import click

from sharedenv import __version__

#: command → (module, attribute, one line of help): the help is here so that `--help` loads no command
COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("sharedenv.cli.build:build", "Build every environment that these scripts need, once each."),
    "run": ("sharedenv.cli.run:run", "Build what is missing, then run every script in its environment."),
    "exec": ("sharedenv.cli.exec:exec_", "Become the script: same process, same folder, its exit status."),
    "which": ("sharedenv.cli.which:which", "Print each script's interpreter."),
    "key": ("sharedenv.cli.key:key", "Print the key of each script."),
    "list": ("sharedenv.cli.pool:list_", "List the environments of the pool."),
}


class Commands(click.Group):
    """A group whose commands are imported when they are called: start-up stays short."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order users meet them, not by alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The table of commands from the lines above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "SHAREDENV"})
@click.version_option(__version__)
@click.option("--pool", metavar="DIR", help="The pool to use (default: the nearest .sharedenv/ above the scripts).")
@click.pass_context
def cli(ctx: click.Context, **options: Any) -> None:
    """One environment for thousands of copies of a script."""
    ctx.obj = options
