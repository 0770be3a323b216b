"""An environment of the pool → what its cases are started with."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sharedenv.environ import environ_in
from sharedenv.pool.hold import enter
from sharedenv.pool.layout import Layout
from sharedenv.pool.staged import path_to_use
from sharedenv.pool.store import Environment
from sharedenv.run.starter import Prepared

#: what the usual libraries read to learn how many threads to start
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


def prepare(layout: Layout, environment: Environment, environ: Mapping[str, str], threads: int | None = None) -> Prepared:
    """Holds the environment until this process and its children end, and notes its use. Raises Vanished, OSError."""
    descriptor = enter(layout, environment)
    path = path_to_use(environment.path, environ)
    path = path_to_use(environment.path, environ)
    return Prepared(os.path.join(path, "bin", "python"), case_variables(environ, path, threads), (descriptor,))


def case_variables(environ: Mapping[str, str], environment: str, threads: int | None = None) -> dict[str, str]:
    """The variables of a case; ``threads``: how many the usual numerical libraries may start, None to leave that alone."""
    variables = environ_in(environment, dict(environ))
    if threads is not None:
        variables.update(dict.fromkeys(THREADS, str(threads)))
    return variables
