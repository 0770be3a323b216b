"""Completion of command lines (bash, zsh, fish), by click: loaded when a shell asks."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem, shell_complete

from sharedenv.app.project import pool_here


def complete(cli: click.Command, variable: str) -> int:
    """Answers what the shell asks by ``variable``, on stdout, and returns the exit status."""
    try:
        return shell_complete(cli, {}, "sharedenv", variable, os.environ[variable])
    except Exception:  # a line that can't be read has no completions; words of ours would go into the middle of it
        return 1


def runs(context: click.Context, incomplete: str) -> list[CompletionItem]:
    """The runs of the pool at hand, newest first."""
    layout = pool_here(context.find_root().params["pool"])
    found = sorted(os.listdir(layout.runs), reverse=True) if layout else []
    return [CompletionItem(name) for name in found if name.startswith(incomplete) and not name.startswith(".")]
