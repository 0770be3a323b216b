"""The few words of a stream or an error that say why. Pure."""

from __future__ import annotations

from sharedenv.errors import SharedenvError


def last_lines(data: bytes, count: int = 5) -> str:
    """The last lines of a stream, blank ones left out, as text; bytes that are no UTF-8 are spelled out."""
    lines = [line for line in data.decode("utf-8", "backslashreplace").splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def telling_line(error: SharedenvError) -> str:
    """The one line of an error that says why: uv's first cause where it names one under its own headline."""
    lines = [line.strip() for line in (error.cause or "").splitlines() if line.strip()]
    causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith("cause:")]
    return next(iter([*causes, *lines]), error.message).removeprefix("error:").strip()
