"""The variables of a case. Imports next to nothing: every task of an array pays for it."""

from __future__ import annotations

from collections.abc import Mapping

from sharedenv.start.environ import environ_in

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


RUN = "SHAREDENV_CASE_RUN"  #: with those that differ from case to case (place.py), what a case is told of itself


def case_variables(environ: Mapping[str, str], environment: str, entries: str | None, threads: int | None, run_id: str) -> dict[str, str]:
    """The variables that all cases in an environment have; ``threads``: how many the usual numerical libraries may start, None to
    leave that alone.
    """
    variables = {**environ_in(environment, environ, entries), RUN: run_id}
    if threads is not None:
        variables.update(dict.fromkeys(THREADS, str(threads)))
    return variables
