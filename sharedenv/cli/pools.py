"""What the commands on a whole pool share: finding it, naming environments by KEY, errors inside the JSON document."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import click

from sharedenv.cli.common import trusted
from sharedenv.cli.options import Function, option
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.create import check_format
from sharedenv.pool.layout import Layout, find_pool
from sharedenv.pool.store import SHORT
from sharedenv.pool.survey import Found
from sharedenv.report.console import error_value

_KEY = re.compile(r"[0-9a-f]{1,64}|[0-9a-f]{12}-[1-9][0-9]*")


def json_option(function: Function) -> Function:
    """Adds --json, the command's ``as_json``: with it an error that ends the command stands in the document too."""

    @option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    @functools.wraps(function)
    def with_errors_inside(*args: Any, as_json: bool, **options: Any) -> Any:
        context = click.get_current_context()
        try:
            return function(context, *args, as_json=as_json, **options)
        except SharedenvError as error:
            if not as_json:
                raise
            context.obj.console.document({"errors": [error_value(error)]})
            return error.exit_code

    return with_errors_inside


def existing_pool(context: click.Context, *, trust: bool = True) -> Layout:
    """The pool that a command without scripts works on. Raises SharedenvError when there is none, or none to be trusted."""
    here = os.getcwd()
    layout = find_pool(context.obj.pool, os.environ, (), here)
    if layout is None or not os.path.exists(layout.marker):
        where = layout.path if layout else f"{here} or above it"
        raise SharedenvError(f"no pool at {where}", hint="sharedenv build 'case*/script.py'")
    if trust:
        trusted(layout)
    check_format(layout)
    return layout


def is_key(text: str) -> bool:
    """Whether an argument can name an environment: the beginning of a key, or `<key12>-<n>`."""
    return _KEY.fullmatch(text) is not None


def select(found: Iterable[Found], arguments: Sequence[str]) -> list[Found]:
    """The environments that KEY arguments name, each once; all of them for none. A key stands for all its generations.

    Raises SharedenvError for an argument that names none, or several keys.
    """
    everything = list(found)
    if not arguments:
        return everything
    chosen: dict[str, Found] = {}
    for argument in arguments:
        matches = [item for item in everything if _names(argument, item)] if is_key(argument) else []
        keys = {item.key or item.name[:SHORT] for item in matches}
        if len(keys) != 1:
            raise _unclear(argument, sorted(keys))
        chosen.update((item.name, item) for item in matches)
    return list(chosen.values())


def current(found: Sequence[Found]) -> Found:
    """Of the generations of one key, the one that scripts are run in, else the newest."""
    return next((item for item in found if item.published), found[-1])


def _names(argument: str, item: Found) -> bool:
    return item.name == argument or (item.key or item.name[:SHORT]).startswith(argument)


def _unclear(argument: str, keys: list[str]) -> SharedenvError:
    if not keys:
        return SharedenvError(
            f"no environment's key begins with {argument!r}", hint="sharedenv list", exit_code=EXIT_USAGE
        )
    return SharedenvError(
        f"{argument} is the beginning of {len(keys)} keys",
        cause="\n".join(keys),
        hint=f"give more digits, such as {keys[0][:SHORT]}",
        exit_code=EXIT_USAGE,
    )
