"""A pool that is held to bounds is trimmed by who has built something in it, with prune's own choice and care."""

from __future__ import annotations

from collections.abc import Iterable

from sharedenv.app.needs import unfinished_needs
from sharedenv.care.prune import Policy, Pruned, prune
from sharedenv.pool.bounds import LEAST, Bounds
from sharedenv.pool.layout import Layout


def trim(layout: Layout, bounds: Bounds, keys: Iterable[str]) -> Pruned:
    """Takes what is over the bounds out of the pool, and never what is in use, needed by an unfinished run or used within a week.

    ``keys``: of the scripts that were just built for, whose environments stay. Raises OSError.
    """
    unfinished = unfinished_needs(layout)
    needed = {**dict.fromkeys(keys, "needed by the scripts named"), **unfinished.keys}
    return prune(layout, Policy(bounds.unused_for, bounds.max_size, None, needed, unfinished.doubt, spared=LEAST, pack=bounds.pack))
