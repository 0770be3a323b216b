"""How many cases a worker runs at a time, and in which places."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from sharedenv.run.node import beside, node_of
from sharedenv.run.place import Place
from sharedenv.run.places import Places
from sharedenv.run.terms import Needs, Resources
from sharedenv.values import frozen


@frozen
class Allotment:
    """How many cases at a time, and the places for them."""

    jobs: int
    places: Places
    made: tuple[Place, ...] = ()


def allot(worker: Resources, needs: Needs, warn: Callable[[str], None], *, several: bool, dry: bool = False) -> Allotment:
    """The places of a worker. ``several``: others of its job may be at work on this node; ``dry``: nothing is taken.

    Without needs a place is a number, taken when so many cases run at a time; with them all are taken now. Raises SharedenvError where
    there is not enough for one case, or for as many at a time as the user asked for.
    """
    if needs:
        from sharedenv.run.sharing import planned_places, shared_places  # noqa: PLC0415 - most runs do without

        node, made = (None, planned_places(worker, needs)) if dry else shared_places(worker, needs)
        return Allotment(len(made), Places(node, made), made)
    node = None
    if several and not dry:
        try:
            node = node_of(worker.variables)
        except OSError as error:
            warn(f"slots are numbered apart from those of other workers on this node: {error.strerror}: {error.filename}")
    return Allotment(worker.jobs or worker.cpus, Places(node))


def default_jobs(environ: Mapping[str, str]) -> int:
    """SLURM_CPUS_PER_TASK, Grid Engine's NSLOTS, or the CPUs that this process may use: in a job no more than the job has here, for each
    of a step's tasks.
    """
    if (given := _number(environ, "SLURM_CPUS_PER_TASK")) is not None:
        return given
    if "SGE_TASK_ID" in environ and (given := _number(environ, "NSLOTS")) is not None:
        return given
    try:
        here = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        here = os.cpu_count() or 1
    # not every cluster binds a job to its CPUs
    if "SLURM_JOB_ID" not in environ or (ours := _number(environ, "SLURM_CPUS_ON_NODE")) is None:
        return here
    return min(here, max(1, ours // beside(environ)))


def _number(environ: Mapping[str, str], name: str) -> int | None:
    """A variable that holds a number above 0; None for anything else."""
    given = environ.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else None
