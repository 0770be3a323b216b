"""A bug of ours: one line for the user, and a file to send."""

from __future__ import annotations

import os
import platform
import tempfile
import traceback

from sharedenv import __version__
from sharedenv.errors import EXIT_BUG, SharedenvError


def write_report(error: Exception, command: str) -> SharedenvError:
    """Writes the traceback to a file under TMPDIR and returns the error that names it (exit status 70, EX_SOFTWARE of sysexits).

    ``command`` is the command line without what may be secret.
    """
    lines = [
        f"sharedenv {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {command}",
        "",
        *traceback.format_exception(error),
    ]
    try:
        descriptor, path = tempfile.mkstemp(prefix="sharedenv-bug-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines))
        hint: str | None = f"send {path} to the maintainers of sharedenv"
    except OSError:
        traceback.print_exception(error)
        hint = None
    return SharedenvError(
        "sharedenv met a bug of its own", cause=f"{type(error).__name__}: {error}", hint=hint, exit_code=EXIT_BUG
    )
