"""An option of [tool.uv] or uv.toml that the uv at hand doesn't know: too old for it, or the option is misspelt."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping

from sharedenv.build.uv_words import unknown_option
from sharedenv.key.payload import Payload
from sharedenv.key.tool_uv import OPTIONS


def strange_option(
    words: str, payload: Payload, script: str, version: str, environ: Mapping[str, str]
) -> tuple[str, str] | None:
    """Cause and hint where uv of this ``version`` has failed on an option; None where its ``words`` tell another reason.

    ``script``: the one it was built for, as it is shown.
    """
    option = unknown_option(words)
    if option in payload.document["tool.uv"] or option in payload.aside.options:
        where, file = f"[tool.uv] of {script}", script
    elif option in payload.document["settings"]:
        where, file = "the project's uv.toml, or [tool.uv] of its pyproject.toml", "uv.toml"
    elif option and "uv.toml" in words:  # it changes nothing of what is installed
        where, file = "a uv.toml that counts: the project's, yours or the site's", "uv.toml"
    else:
        return None
    said = f"uv {version} knows no option `{option}`, which stands in {where}"
    if option not in OPTIONS and (like := difflib.get_close_matches(option or "", OPTIONS, 1)):
        return f"{said}; did you mean `{like[0]}`?", shlex.join(["grep", "-n", str(option), file])
    why = "it is too old for it" if option in OPTIONS else "it is too old for it, or there is none of that name"
    return f"{said}: {why}", "unset SHAREDENV_UV" if environ.get("SHAREDENV_UV") else "pip install --upgrade uv"
