"""What a pool is held to by itself: how much it may take, and for how long what nobody uses stays. Kept in pool.json."""

from __future__ import annotations

from sharedenv.pool.create import mark, read_marker
from sharedenv.pool.layout import Layout
from sharedenv.values import frozen

LEAST = 7 * 24 * 3600.0  #: seconds: what was used within them stays, whatever the bounds are


@frozen
class Bounds:
    """The bounds of a pool.

    max_size    bytes that its environments may take together; None: any number
    unused_for  seconds since the last use after which one goes; None: never
    pack        an archive stays of what goes
    """

    max_size: int | None = None
    unused_for: float | None = None
    pack: bool = False

    @property
    def limited(self) -> bool:
        """Whether a build has anything to trim by."""
        return self.max_size is not None or self.unused_for is not None


def read_bounds(layout: Layout) -> Bounds:
    """The bounds of a pool; what can't be read there, or is none, counts as not set."""
    try:
        found = read_marker(layout)
    except (OSError, ValueError):
        return Bounds()
    size, age = found.get("max_size"), found.get("unused_for")
    return Bounds(
        size if isinstance(size, int) and size >= 0 else None,
        float(age) if isinstance(age, int | float) and age >= LEAST else None,
        found.get("pack") is True,
    )


def set_bounds(layout: Layout, bounds: Bounds) -> None:
    """Writes the bounds of a pool: its owner may. Raises OSError."""
    mark(layout, {"max_size": bounds.max_size, "unused_for": bounds.unused_for, "pack": bounds.pack or None})
