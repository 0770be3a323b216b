"""What the command line's frame needs, and no more: `--help` loads this and no room of the house."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

Function = Callable[..., Any]
_JSON = "sharedenv.json"


def paths(_context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    """For a shell that completes a command line: its own completion of files, or of folders."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a shell asks

    return [CompletionItem(incomplete, type="dir" if parameter.metavar == "DIR" else "file")]


def runs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
    """For a shell that completes a command line: the runs of the pool."""
    from sharedenv.cli.completion import runs as found  # noqa: PLC0415 - only a shell asks

    return found(context, incomplete)


_COMPLETED = {"DIR": paths, "FILE": paths, "LIST": paths, "ID": runs}


def option(*names: str, **attributes: Any) -> Callable[[Function], Function]:
    """click.option whose environment variable is SHAREDENV_ and its long name, as for nearly every option of every command."""
    long = next(name for name in names if name.startswith("--"))
    attributes.setdefault("envvar", "SHAREDENV_" + long.split("/")[0].strip("-").upper().replace("-", "_"))
    attributes.setdefault("shell_complete", _COMPLETED.get(attributes.get("metavar", "")))
    return click.option(*names, **attributes)


def typed(name: str) -> bool:
    """Whether an option of the command at work stands on the command line: a variable that is set for other commands, and has no
    effect here, contradicts nothing.
    """
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def json_option(function: Function) -> Function:
    """Adds --json, the command's ``as_json``; with it, an error that ends the command is a document too (see cli.main)."""
    return option("--json", "as_json", is_flag=True, callback=_note, help="One JSON document on stdout.")(function)


def wants_document(context: click.Context | None, words: Sequence[str]) -> bool:
    """Whether a command line that failed asked for --json: by an option or its variable, or, where it could not be read,
    by the word.
    """
    if context is not None and _JSON in context.meta:
        return bool(context.meta[_JSON])
    ours = words[: words.index("--")] if "--" in words else words
    return "--json" in ours and "exec" not in ours  # after exec it is the script's


def _note(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    context.meta[_JSON] = value
    return value
