"""The few words of a stream or an error that say why. Pure."""

from __future__ import annotations

from sharedenv.errors import SharedenvError

_LINES = 5  # of a stream
_WORDS = 1000  # characters of a line: more are never shown, and are kept for each of 100,000 cases
_UVS = ("error:", "warning:", "hint:", "cause:")  # all else that uv says begins with a capital


def last_lines(data: bytes) -> str:
    """The last lines of a stream, blank ones left out, as text; bytes that are no UTF-8 are spelled out."""
    lines = [line for line in data.decode("utf-8", "backslashreplace").splitlines() if line.strip()]
    return "\n".join(lines[-_LINES:])


def last_words(tail: str) -> str:
    """The last line that says something: the traceback of an ExceptionGroup stands in a frame, `  | …` and `  +-----`."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if any(map(str.isalnum, line))), lines[-1] if lines else "")
    return (said.lstrip("| ") or said)[:_WORDS]


def telling_line(error: SharedenvError) -> str:
    """The one line of an error that says why: ours, where we say it; else uv's cause, and of several the last, which the
    others come from, with its headline.
    """
    lines = [line.strip() for line in (error.cause or "").splitlines() if line.strip()]
    causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith("cause:")]
    headline = next((line.removeprefix("error:").strip() for line in lines if line.startswith("error:")), "")
    if lines and lines[0][0].islower() and not lines[0].startswith(_UVS):
        return lines[0]
    if len(causes) > 1 and headline:
        return f"{headline}: {causes[-1]}"
    return next(filter(None, [*causes, headline, *lines]), error.message)
