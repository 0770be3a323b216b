"""A pool with bounds is trimmed by every command that has built something in it, and told of in one line."""

from __future__ import annotations

from collections.abc import Iterable

from sharedenv.errors import SharedenvError
from sharedenv.pool.bounds import read_bounds
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console


def trim_and_tell(layout: Layout, keys: Iterable[str], console: Console) -> None:
    """Trims a pool that has bounds; the environments of these keys stay. Never fails: what was built is there."""
    bounds = read_bounds(layout)
    if not bounds.limited:
        return
    from sharedenv.app.trim import trim  # noqa: PLC0415 - few pools have bounds, and what trims one is much to load
    from sharedenv.report.bounds import gone_words, trimmed_words  # noqa: PLC0415 - as above

    try:
        pruned = trim(layout, bounds, keys)
    except (OSError, SharedenvError) as error:
        console.warn(f"the pool was not trimmed to its bounds: {error}")
        return
    gone = [verdict for verdict in pruned.verdicts if verdict.removed]
    packed = [verdict.environment.name for verdict in gone if verdict.archive is not None]
    removed = [verdict.environment.name for verdict in gone if verdict.archive is None]
    if told := trimmed_words(removed, packed, gone_words(pruned.gone, pruned.linked), pruned.over):
        console.say(told)
