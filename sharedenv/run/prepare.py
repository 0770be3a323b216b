"""An environment of the pool → what its cases are started with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from sharedenv.pool.first_on_path import first_on_path
from sharedenv.pool.layout import Layout
from sharedenv.pool.sets import enter_set, set_of
from sharedenv.pool.store import Environment
from sharedenv.run.starter import Prepared
from sharedenv.run.variables import case_variables
from sharedenv.start.staged import path_to_use


def prepare(
    layout: Layout,
    environment: Environment,
    environ: Mapping[str, str],
    threads: int | None,
    run_id: str,
    launcher: tuple[str, ...],
    tell: Callable[[str], None],
) -> Prepared:
    """Holds the environment until this process and its children end, and notes its use. Raises Vanished, OSError.

    It is the one with the run's set of versions, whether its key leads to it or to a newer one. ``tell``: see first_on_path.
    """
    descriptor = enter_set(layout, environment)
    path = path_to_use(environment.path, environ)
    entries = first_on_path(descriptor, environment.path, path, environ, tell)
    variables = case_variables(environ, path, entries, threads, run_id)
    return Prepared(os.path.join(path, "bin", "python"), variables, (descriptor,), environment.name, set_of(environment), launcher)
