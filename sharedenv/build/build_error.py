"""The error of a build that failed: why, from uv's words, and the command to run next."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Mapping

from sharedenv.build.construction import Construction, below
from sharedenv.build.exact import held_error
from sharedenv.build.locked import lock_error
from sharedenv.build.remedy import Scene, remedy
from sharedenv.build.uv import Unlocked, UvFailed
from sharedenv.build.uv_words import OUTSIDE, UNREACHED, Kind, Trouble, gist, other_uv, trouble, unknown_option
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.payload import Payload
from sharedenv.key.plan import Need
from sharedenv.key.tool_uv import OPTIONS
from sharedenv.key.versions import Versions
from sharedenv.secret import redact
from sharedenv.start.access import SHORT


def failed_build(
    failure: UvFailed, need: Need, work: Construction, hidden: tuple[str, ...], held: Versions | None, log: str
) -> SharedenvError:
    """The error of a build of ``need`` that uv has failed in. ``hidden``: secrets, which stand in no message."""
    words = redact(failure.words, hidden)
    met = None if failure.hint else trouble(words)
    if met is not None and met.kind in OUTSIDE:
        work.fetches.cut_off |= met.kind in UNREACHED
        return build_error(need, work, words, log, None, met=met)
    first = below(work.cwd, need.scripts[0])
    told = None if work.options.upgrade else held_error(need, held, failure, words, first, strict=work.options.strict)
    why = redact(failure.why, hidden) if isinstance(failure, Unlocked) else ""
    return told or build_error(need, work, words, log, failure.hint, why, met)


def build_error(
    need: Need, work: Construction, words: str, log: str | None, hint: str | None, why: str = "", met: Trouble | None = None
) -> SharedenvError:
    """The error of a build of ``need`` (exit status 3).

    words  why, as uv or the system said it, without secrets
    log    where all is that uv said; None where it is not uv that failed
    hint   the command to run next, where it is known already
    why    what differs, of a lock file that doesn't fit
    met    what kept uv from building, where that is known
    """
    first = below(work.cwd, need.scripts[0])
    more = len(need.scripts) - 1
    if log is None:
        cause = words
    elif wanted := other_uv(words):
        cause = f"{_wants_uv(need, work)} wants uv {wanted}, and this is uv {work.uv.version}"
        hint = f"pip install {shlex.quote(f'uv{wanted}')}"
    elif told := (
        lock_error(words, why, need, work.settings, work.cwd)
        or strange_option(words, need.payload, first, work.uv.version, work.environ)
    ):
        cause, hint = told
    elif met is not None:
        scene = Scene(need, first, below(work.cwd, log), work.layout, work.uv, work.environ, work.options.offline)
        cause, hint = remedy(met, scene)
        if work.options.upgrade_packages and met.kind is Kind.UNSOLVED:  # others may have to move with it
            hint = shlex.join(["sharedenv", "build", "--upgrade", first])
    else:
        cause = f"{gist(words)}\n(all that uv said: {below(work.cwd, log)})"
        hint = hint or shlex.join(["cat", below(work.cwd, log)])
    return SharedenvError(
        f"can't build environment {need.payload.key[:SHORT]} for {first}{f' and {more:,} more' if more else ''}",
        cause=cause,
        hint=hint,
        exit_code=EXIT_BUILD,
    )


def _wants_uv(need: Need, work: Construction) -> str:
    """Where required-version stands."""
    if "required-version" in need.payload.document["tool.uv"]:
        return "[tool.uv] of the script"
    if chosen := work.environ.get("UV_CONFIG_FILE"):
        return chosen
    name = os.path.join(work.settings.root, "uv.toml")
    return f"the project's {'uv.toml' if os.path.isfile(name) else 'pyproject.toml'}"


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
