"""Text for people, on stderr; results, on stdout. The only place that prints."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.report.words import count, printable
from sharedenv.report.wrap import wrapped
from sharedenv.values import frozen

_STYLES = {"error": "\033[1;31m", "hint": "\033[1;36m", "warning": "\033[1;33m", "good": "\033[32m", "dim": "\033[2m"}


def by_cause(errors: Sequence[SharedenvError]) -> list[SharedenvError]:
    """Errors, each cause told once: the first that it met, and how many more."""
    found: dict[str, list[SharedenvError]] = {}
    for error in errors:
        found.setdefault((error.cause or error.message).partition("\n")[0], []).append(error)
    return [_with_more(first, len(more)) for first, *more in found.values()]


def _with_more(error: SharedenvError, more: int) -> SharedenvError:
    if not more:
        return error
    message = f"{error.message} ({count(more, 'more error', 'more errors')} for the same reason)"
    return SharedenvError(message, cause=error.cause, hint=error.hint, exit_code=error.exit_code)


@frozen
class Console:
    """Where human text goes. ``verbosity``: -1 quiet (errors only), 0 normal, 1 verbose; ``color``: auto, always or never;
    ``pool``: the pool that was named, which commands that are told to be run name too.
    """

    verbosity: int = 0
    color: str = "auto"
    pool: str | None = None

    @property
    def live(self) -> bool:
        """Whether stderr is a terminal on which a line may be redrawn: not where stdout is a pipe, whose end may write there, too."""
        return self.verbosity >= 0 and sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not _is_pipe(1)

    @property
    def colored(self) -> bool:
        """Whether to write colours (NO_COLOR is honoured: no-color.org)."""
        if self.color == "auto":
            return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return self.color == "always"

    def style(self, name: str, text: str) -> str:
        """The text in a style: error, hint, warning, good or dim."""
        return f"{_STYLES[name]}{text}\033[0m" if self.colored else text

    def result_style(self, name: str, text: str) -> str:
        """The text in a style, for a line of what was asked for: plain where stdout is no terminal."""
        return self.style(name, text) if sys.stdout.isatty() or self.color == "always" else text

    def say(self, text: str) -> None:
        """A line for people; nothing with -q."""
        if self.verbosity >= 0:
            _tell(text)

    def hint(self, command: str) -> None:
        """What to run next, behind lines that say what is missing; nothing with -q."""
        self.say(f"\n{self.style('hint', 'hint:')} {self.in_pool(_harmless(command))}")

    def detail(self, text: str) -> None:
        """A line that only -v shows."""
        if self.verbosity > 0:
            _tell(text)

    def warn(self, text: str) -> None:
        """A warning; -q hides it too."""
        self.say(f"{self.style('warning', 'warning:')} {text}")

    def error(self, error: SharedenvError) -> None:
        """An error with its cause and its hint; always shown."""
        self.errors([error])

    def errors(self, errors: Sequence[SharedenvError]) -> None:
        """Several errors, an empty line between two, and of those with one cause the first; always shown."""
        if errors:
            _tell("\n\n".join(map(self.error_text, by_cause(errors))))

    def error_text(self, error: SharedenvError) -> str:
        """`error: …`, `  cause: …` (further lines indented under the first), a blank line, `hint: …`."""
        lines = [f"{self.style('error', 'error:')} {_harmless(error.message)}"]
        if error.cause:
            first, *rest = _harmless(error.cause).rstrip("\n").split("\n")
            lines.append(f"  {self.style('error', 'cause:')} {first}")
            lines += [f"         {line}".rstrip() for line in rest]
        if error.hint:
            lines += ["", f"{self.style('hint', 'hint:')} {self.in_pool(_harmless(error.hint))}"]
        return "\n".join(lines)

    def error_value(self, error: SharedenvError) -> dict[str, Any]:
        """An error as it stands in a JSON document."""
        hint = self.in_pool(error.hint) if error.hint else error.hint
        return {"message": error.message, "cause": error.cause, "hint": hint, "exit_code": error.exit_code}

    def in_pool(self, command: str) -> str:
        """What the user is told to run next, for the pool that was named where it is a command of ours."""
        ours = "sharedenv "
        if not self.pool or not command.startswith(ours) or "--pool" in command:
            return command
        return f"{ours}--pool {shlex.quote(self.pool)} {command.removeprefix(ours)}"

    def result(self, text: str) -> None:
        """A line of what was asked for, on stdout."""
        _write(text)

    def answer(self, text: str) -> None:
        """The same, for people: on a terminal it is broken between words."""
        self.result(wrapped(text, columns(1)) if sys.stdout.isatty() else text)

    def names(self, names: Iterable[str], *, null: bool) -> None:
        """Names of files on stdout, each ended by a newline or by NUL, for other programs."""
        for name in names:
            _write(name, "\0" if null else "\n")

    def document(self, value: dict[str, Any]) -> None:
        """The one JSON document of --json, on stdout; names that are no UTF-8 survive as escapes."""
        import json  # noqa: PLC0415 - `--help` does without it

        _write(json.dumps({"schema": 1, **value}, indent=2))


#: what moves the cursor, or worse, in names and in the words of other tools; line breaks and tabs apart
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROL_BUT_STYLES = re.compile(rf"(?!\x1b\[[0-9;]*m){_CONTROL.pattern}")


def _harmless(text: str, control: re.Pattern[str] = _CONTROL) -> str:
    return control.sub(lambda found: printable(found[0]), text)


def columns(descriptor: int = 2) -> int:
    """How wide the terminal is on which people read."""
    try:
        return os.get_terminal_size(descriptor).columns or 80
    except OSError:
        return 80


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _tell(text: str) -> None:
    text = _harmless(text, _CONTROL_BUT_STYLES)
    if sys.stderr.isatty():
        text = wrapped(text, columns())
    # a full disk under a log, a reader or a terminal that has gone: no reason to end what works, and nobody to tell
    with contextlib.suppress(OSError):
        sys.stderr.flush()
        # past Python's buffer: what that could not write would fail once more at our exit
        write_all(sys.stderr.fileno(), encoded(text + "\n"))


def _write(text: str, end: str = "\n") -> None:
    try:
        sys.stdout.flush()
        # past Python's buffer: what that could not write would fail once more at our exit
        write_all(1, encoded(text + end))
    except BrokenPipeError:
        raise  # `| head`: the reader has enough
    except OSError as error:
        raise SharedenvError("can't write to standard output", cause=error.strerror, exit_code=EXIT_FAILED) from None


def encoded(text: str) -> bytes:
    """A text as the terminal's locale has it."""
    # names of files go out as the bytes that they are, whatever the locale; that has no character for some of our own
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return b"".join(map(_character, text.replace("…", "...")))


def _character(character: str) -> bytes:
    try:
        return os.fsencode(character)
    except UnicodeEncodeError:
        return b"?"


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of it, also where the reader is slow and does not block (a terminal left so by another program)."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            import select  # noqa: PLC0415 - seldom wanted

            select.select([], [descriptor], [])
