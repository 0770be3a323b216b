"""A command of the command line, called by a program: with words, and a console that keeps what it says."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sharedenv.cli.given import CALLED
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.report.console import Console


def call(command: click.Command, words: Sequence[str], console: Console) -> int:
    """The exit status of a command that is given these words. Raises SharedenvError, for words that it does not take, too."""
    name = command.name or ""
    try:
        with command.make_context(name, list(words), obj=console) as context:
            context.meta[CALLED] = ("sharedenv", name, *words)
            status = command.invoke(context)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        raise SharedenvError(message[:1].lower() + message[1:], hint=f"sharedenv {name} --help", exit_code=EXIT_USAGE) from None
    return status if isinstance(status, int) else 0
