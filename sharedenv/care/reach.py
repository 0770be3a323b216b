"""Whether what can be asked from here answers: the package index, through the proxy where there is one. Nobody waits long for it."""

from __future__ import annotations

from collections.abc import Mapping

from sharedenv.build.remedy import Scene, remedy
from sharedenv.build.uv import Uv, ask_index
from sharedenv.build.uv_trouble import OUTSIDE, Kind, trouble
from sharedenv.care.doctor import Finding, Level
from sharedenv.pool.layout import Layout
from sharedenv.start.uv_variables import is_on

_PATIENCE = 5  #: seconds that an index has for each answer


def examine_index(uv: Uv, layout: Layout, environ: Mapping[str, str]) -> Finding:
    """Asks the index of the project for a package that every index of Python packages has. Where the network is switched off, it isn't."""
    if is_on(environ.get("UV_OFFLINE", "")):
        return Finding("index", Level.NOTE, "not asked: UV_OFFLINE keeps uv from it", "unset UV_OFFLINE  # where there is a network")
    asking = {**environ, "UV_HTTP_TIMEOUT": str(_PATIENCE), "UV_HTTP_CONNECT_TIMEOUT": str(_PATIENCE), "UV_HTTP_RETRIES": "0"}
    words = ask_index(uv, asking, layout.root, 2.0 * _PATIENCE)
    if "`offline` (" in words:  # uv refuses to ask anew
        text = "not asked: `offline` in a uv.toml keeps uv from it"
        return Finding("index", Level.NOTE, text, "export UV_OFFLINE=0  # where there is a network")
    found = trouble(words) if words else None
    if found is None or found.kind not in OUTSIDE:  # also one that has no such package has answered
        return Finding("index", Level.GOOD if not words or found else Level.NOTE, "answers" if not words or found else "uv can't ask it")
    text, hint = remedy(found, Scene(None, "SCRIPT", None, layout, uv, asking, offline=False))
    return Finding("index", Level.NOTE if found.kind is Kind.OFFLINE else Level.WARNING, text.split("\n")[0], hint)
