"""Which way the cases of a run are started."""

from __future__ import annotations

from collections.abc import Callable

from sharedenv.run.starter import PlainStarter, Starter


def make_starter(notice: Callable[[str], None], *, preload: bool) -> Starter:
    """What starts cases: the plain way, or as forks of processes that have their imports. ``notice``: see PreloadStarter."""
    if not preload:
        return PlainStarter()
    from sharedenv.run.preload.starter import PreloadStarter  # noqa: PLC0415 - most runs do without sockets and ast

    return PreloadStarter(notice)
