"""How many cases a worker runs at a time, and in which places."""

from __future__ import annotations

from collections.abc import Callable

from sharedenv.run.needs import Needs, Resources
from sharedenv.run.node import node_of
from sharedenv.run.place import Place
from sharedenv.run.places import Places
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
