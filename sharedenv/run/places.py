"""The places of one worker: what gives each case that starts a slot, and takes it back."""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping, Sequence

from sharedenv.run.node import Node
from sharedenv.run.place import SLOT, Place


class Places:
    """Gives each case that starts the lowest place that is free. ``node``: where the workers of the job share them, None for slots of
    this worker's own; ``made``: places there are already.
    """

    def __init__(self, node: Node | None = None, made: Sequence[Place] = ()) -> None:
        self._node = node
        self._count = len(made)
        self._free = [(place.slot, place) for place in made]
        heapq.heapify(self._free)

    def take(self) -> Place:
        """A place, until it is given back. Raises OSError where no further one can be had."""
        if self._free:
            return heapq.heappop(self._free)[1]
        if self._node is None:
            place = make_place(self._count + 1)
        else:
            with self._node.turn():
                slot, descriptor = self._node.hold_number("slot")
            place = make_place(slot, descriptors=(descriptor,))
        self._count += 1
        return place

    def give_back(self, place: Place) -> None:
        """Nothing runs in it any more."""
        heapq.heappush(self._free, (place.slot, place))

    def close(self) -> None:
        """Lets go of what is free."""
        for _, place in self._free:
            for descriptor in place.descriptors:
                os.close(descriptor)
        self._free.clear()
        if self._node is not None:
            self._node.sweep()


def make_place(
    slot: int,
    variables: Mapping[str, str] | None = None,
    cpus: tuple[int, ...] = (),
    descriptors: tuple[int, ...] = (),
    gpus: tuple[str, ...] = (),
) -> Place:
    """The place with this slot; ``variables``: of its GPUs."""
    told = {SLOT: str(slot), **(variables or {})}
    return Place(slot, {os.fsencode(name): os.fsencode(value) for name, value in told.items()}, cpus, descriptors, gpus)
