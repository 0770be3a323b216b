"""Completion of command lines (bash, zsh, fish), by click: loaded when a shell asks."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem, ZshComplete, add_completion_class, shell_complete

from sharedenv.app.project import pool_here

#: click's last lines for zsh, which fail where compinit has not run yet: it may stand below in ~/.zshrc
_NOW = "    compdef %(complete_func)s %(prog_name)s\n"
_LATER = """\
    if (( $+functions[compdef] )); then
        compdef %(complete_func)s %(prog_name)s
    else
        %(complete_func)s_register() {
            (( $+functions[compdef] )) || return 0
            add-zsh-hook -d precmd %(complete_func)s_register
            compdef %(complete_func)s %(prog_name)s
        }
        autoload -Uz add-zsh-hook
        add-zsh-hook precmd %(complete_func)s_register
    fi
"""


@add_completion_class
class _Zsh(ZshComplete):
    """click's code for zsh, wherever it stands in ~/.zshrc: before compinit it waits for the first prompt."""

    source_template = ZshComplete.source_template.replace(_NOW, _LATER)


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
