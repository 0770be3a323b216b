"""What the command line's frame needs, and no more: `--help` loads this and no room of the house."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from sharedenv.errors import SharedenvError

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


_COMPLETED = {"DIR": paths, "FILE": paths, "LIST": paths, "ID": runs, "RUN": runs}


class Option(click.Option):
    """An option whose variable gives way: what is typed wins, and what says nothing here is passed over.

    yields  names of parameters that contradict it: beside one that is typed its variable doesn't count
    needs   names of options without which it says nothing (declared before it): without any its variable doesn't count
    """

    def __init__(self, *names: Any, yields: Iterable[str] = (), needs: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*names, **attributes)
        self.yields = set(yields)
        self.needs = needs

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """The value and where it comes from; click reads what is typed before any variable."""
        value, source = super().consume_value(ctx, opts)
        if source is not ParameterSource.ENVIRONMENT:
            return value, source
        overruled = any(given(ctx, name, ParameterSource.COMMANDLINE) for name in self.yields)
        if overruled or (self.needs and not any(given(ctx, name) for name in self.needs)):
            return self.get_default(ctx), ParameterSource.DEFAULT
        return value, source


def option(*names: str, **attributes: Any) -> Callable[[Function], Function]:
    """click.option whose environment variable is SHAREDENV_ and its long name, as for nearly every option of every command."""
    long = next(name for name in names if name.startswith("--"))
    attributes.setdefault("envvar", "SHAREDENV_" + long.split("/")[0].strip("-").upper().replace("-", "_"))
    attributes.setdefault("shell_complete", _COMPLETED.get(attributes.get("metavar", "")))
    return click.option(*names, cls=Option, **attributes)


def given(context: click.Context, name: str, *sources: ParameterSource) -> bool:
    """Whether a parameter was given: on the command line or by its variable, or by the ``sources`` named; a flag that is off was not."""
    value = context.params.get(name)
    if value is None or value is False or value == ():
        return False
    return context.get_parameter_source(name) in (sources or (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT))


#: command → its groups of parameters that contradict each other, each with the reason
CONTRARY: dict[str, list[tuple[tuple[str, ...], str]]] = {}


def contrary(*names: str, why: str) -> Callable[[click.Command], click.Command]:
    """Of these parameters of a command, any two contradict each other: typed both, or set by two variables, they are refused; a
    variable yields to what is typed.
    """

    def add(command: click.Command) -> click.Command:
        for parameter in command.params:
            if isinstance(parameter, Option) and parameter.name in names:
                parameter.yields.update(name for name in names if name != parameter.name)
        CONTRARY.setdefault(command.name or "", []).append((names, why))
        command.callback = _checked(command.callback, names, why)
        return command

    return add


def contradicted(context: click.Context, name: str) -> bool:
    """Whether a parameter was given that this one would contradict."""
    groups = [names for names, _ in CONTRARY.get(context.command.name or "", ()) if name in names]
    return any(given(context, other) for names in groups for other in names if other != name)


def needing(name: str, *others: str) -> Callable[[click.Command], click.Command]:
    """An option that other commands have too says nothing here without one of the others, which no variable gives."""

    def add(command: click.Command) -> click.Command:
        for parameter in command.params:
            if isinstance(parameter, Option) and parameter.name == name:
                parameter.needs = others
        return command

    return add


def _checked(function: Function | None, names: Sequence[str], why: str) -> Function:
    assert function is not None

    @functools.wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        context = click.get_current_context()
        if len(both := [name for name in names if given(context, name)]) > 1:
            first, second = (_word(context, name) for name in both[:2])
            hint = f"unset {second}" if second.startswith("SHAREDENV_") else f"sharedenv {context.info_name} --help"
            raise SharedenvError(f"{first} and {second}: {why}; give one of them", hint=hint)
        return function(*args, **options)

    return checked


def _word(context: click.Context, name: str) -> str:
    """What a user calls a parameter that was given: the option, or its variable."""
    parameter = next(one for one in context.command.params if one.name == name)
    if context.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
        return str(parameter.envvar)
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.make_metavar(context).strip("[].")
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
