"""One HTML file that holds all it needs: style, script, a library for plots, the data of runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.resources import files

from sharedenv import __version__
from sharedenv.cluster.climbed import RungUse
from sharedenv.report.html.data import encode
from sharedenv.report.html.page import page
from sharedenv.run.case import Case
from sharedenv.run.measures import Measures


def document(
    measured: Sequence[Measures], name: Callable[[Case], str], ladders: Sequence[Sequence[Sequence[RungUse]]] | None = None
) -> str:
    """A report of some runs.

    ``name``: of a case, for people; ``ladders``: of each run, the rungs of each submission that had some; None: no run had any.
    Raises ImportError without the extra `report` (plotly).
    """
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - the extra `report`: other commands do without

    here = files("sharedenv.report.html")
    style, script = ((here / file).read_text(encoding="utf-8") for file in ("page.css", "page.js"))
    data = [encode(one, name) for one in measured]
    return page(measured, data, ladders or [()] * len(measured), name, (style, get_plotlyjs(), script), __version__, time.time())
