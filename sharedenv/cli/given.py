"""Which options the user gave, and those that a run goes on with: what only click knows of a command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import click

from sharedenv.app.project import Selection
from sharedenv.build.options import BuildOptions
from sharedenv.cli.options import contradicted
from sharedenv.run.journal.run import Run
from sharedenv.values import frozen


def all_given(context: click.Context) -> frozenset[str]:
    """Names of the options that the user gave, on the command line or by their variables."""
    by_user = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)
    return frozenset(name for name in context.params if context.get_parameter_source(name) in by_user)


def repeated(context: click.Context, without: Collection[str]) -> list[str]:
    """The options given on this command line or by variables, as words to run it again; those named ``without`` left out."""
    words: list[str] = []
    names = all_given(context) - set(without)
    for parameter in context.command.params:
        name = parameter.name or ""
        if isinstance(parameter, click.Option) and name in names:
            flag, value = max(parameter.opts, key=len), context.params[name]
            for one in value if isinstance(value, tuple) else (value,):
                if one is not False:  # a flag that a variable turns off
                    words += [flag] if one is True else [flag, f"{one:f}".rstrip("0").rstrip(".") if isinstance(one, float) else str(one)]
    return words


@frozen
class Inherited:
    """The options of a command line that goes on with a run: its own, and of that run those that it does not give."""

    selection: Selection
    build_options: BuildOptions
    given: Mapping[str, Any]


def inherit(
    context: click.Context, run: Run, selection: Selection, build_options: BuildOptions, given: Mapping[str, Any]
) -> Inherited:
    """Takes over the options that the run was begun with. A run begun by another command has none to give."""
    own = Inherited(selection, build_options, given)
    words = list(run.asked.extra.get("again", ()))
    if not words or bool(run.asked.extra.get("slurm")) != (context.info_name == "submit"):
        return own
    try:
        earlier = context.command.make_context(context.info_name, words, parent=context.parent)
    except click.UsageError:  # of a version with other options
        return own
    line = click.core.ParameterSource.COMMANDLINE  # the variables of now are another matter
    anew = all_given(context)
    taken = {
        name: value
        for name, value in earlier.params.items()
        if earlier.get_parameter_source(name) is line and name not in anew and not contradicted(context, name)
    }
    return Inherited(
        replace(selection, python=taken.get("python", selection.python), no_lock=taken.get("no_lock", selection.no_lock),
                skip_bad=taken.get("skip_bad", selection.skip_bad)),
        BuildOptions(
            compile=build_options.compile and not taken.get("no_compile", False),
            offline=taken.get("offline", build_options.offline),
            strict=taken.get("strict_python", build_options.strict),
            lock_timeout=taken.get("lock_timeout", build_options.lock_timeout),
        ),
        {name: taken.get(name, value) for name, value in given.items()},
    )
