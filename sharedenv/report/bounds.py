"""A pool's bounds in words, and what a build has trimmed by them."""

from __future__ import annotations

from collections.abc import Sequence

from sharedenv.pool.bounds import Bounds
from sharedenv.report.words import count, size

_DAY = 86400.0
_NAMED = 3  #: environments in a line


def bounds_words(bounds: Bounds) -> str:
    """One line; "" for a pool that has no bounds."""
    limits = [
        *([f"over {size(bounds.max_size)} in all"] if bounds.max_size is not None else []),
        *([f"unused for {bounds.unused_for / _DAY:g} days"] if bounds.unused_for is not None else []),
    ]
    if limits:
        return f"builds in it {'pack' if bounds.pack else 'remove'} what is {' or '.join(limits)}; what was used within 7 days stays"
    return "prune packs what it would remove" if bounds.pack else ""


def bounds_value(bounds: Bounds) -> dict[str, object]:
    """The bounds as they stand in a JSON document: bytes, seconds; null where there is none."""
    return {"max_size": bounds.max_size, "unused_for": bounds.unused_for, "pack": bounds.pack}


def gone_words(gone: int, linked: int) -> str:
    """`930 MB`, `930 MB, of which 918 MB stay in uv's cache or elsewhere`: bytes that went, and those of them that have other names."""
    return size(gone) + (f", of which {size(linked)} stay in uv's cache or elsewhere" if linked else "")


def trimmed_words(removed: Sequence[str], packed: Sequence[str], gone: str, over: int) -> str:
    """What became of these environments (names), in one line, and the bytes by which the pool is over its bounds all the same; ""
    where there is nothing to tell. ``gone``: how many bytes went, in words.
    """
    done = [f"{what} {_named(names)}" for what, names in (("removed", removed), ("packed", packed)) if names]
    left = f"{size(over)} over its bounds: what is in use, needed, not yours or was used within 7 days stays (see sharedenv list)"
    if not done:
        return f"the pool is {left}" if over else ""
    return f"trimmed the pool: {', '.join(done)} ({gone})" + (f"; it is {left}" if over else "")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{count(len(names), 'environment')}, {', '.join(names[:_NAMED])}{more}"
