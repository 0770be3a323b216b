"""What is wrong with scripts, told on one screen: grouped, counted, with file:line. Pure."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.script.find import is_pattern
from sharedenv.script.metadata import NO_BLOCK
from sharedenv.values import frozen

LINES = 20  #: at most about so many lines of places, so that the message stays on one screen
GROUPS = 12  #: at most so many kinds of errors are told apart on it
NO_FILE = "no such file"
FOLDER = "a folder; name the scripts in it"
FOLDERS = "only folders match this pattern; name the scripts in them"
NO_MATCH = "no file matches this pattern (one in a list is not expanded)"


@frozen
class Problem:
    """One bad script: its absolute path, what is wrong, and where (1-based ``line``, ``field`` as in ScriptError)."""

    path: str
    message: str
    line: int | None = None
    field: str | None = None


class BadScripts(SharedenvError):
    """Scripts that can't be used: all of them in ``problems``, the same on one screen in the message; ``headline``: how
    many; ``some_good``: whether there are others.
    """

    def __init__(self, problems: Sequence[Problem], total: int, cwd: str) -> None:
        """``total`` counts the good ones too; paths are shown relative to ``cwd`` where that is shorter."""
        told = [_in_words(problem, cwd) for problem in problems]
        groups: dict[str, list[Problem]] = {}
        for problem in told:
            groups.setdefault(problem.message, []).append(problem)
        largest = sorted(groups.values(), key=len, reverse=True)
        if len(problems) == total == 1:
            headline = f"{_place(told[0])} can't be used"
            cause = told[0].message
        else:
            count = f"{len(problems):,} of {total:,}" if len(problems) < total else f"all {total:,}"
            headline = f"{count} scripts can't be used"
            cause = "\n".join(_report(largest, everything=len(problems) <= LINES))
        super().__init__(f"{headline}; nothing was done", cause=cause, hint=_hint(largest[0][0]), exit_code=EXIT_USAGE)
        self.problems = tuple(problems)
        self.headline = headline
        self.some_good = len(problems) < total


def shown(path: str, cwd: str) -> str:
    """A path for people: relative to ``cwd`` where that is shorter, one line of printable characters always; in quotes, where a blank
    at its end would not be seen.
    """
    text = min(path, os.path.relpath(path, cwd), key=len)
    if text != text.strip():
        text = f"'{text}'"
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def remark(path: str, line: int, text: str, scripts: int) -> str:
    """A warning about something in ``scripts`` scripts that is passed over, first met in this line of ``path`` (as it is shown)."""
    return f"{path}:{line}: {text}{f' (in {scripts:,} scripts)' if scripts > 1 else ''}"


def _in_words(problem: Problem, cwd: str) -> Problem:
    path, message = shown(problem.path, cwd), problem.message
    if message == NO_FILE and is_pattern(path):
        message = NO_MATCH
    if problem.field is not None and problem.field not in message:
        message = f"{problem.field}: {message}"
    return Problem(path, message, problem.line, problem.field)


def _report(groups: Sequence[Sequence[Problem]], *, everything: bool) -> Iterable[str]:
    """The lines of all groups: one for a script alone in its group, else a heading and its first scripts."""
    told = groups if everything else groups[:GROUPS]
    examples = max(1, min(5, LINES // len(told) - 2))
    for group in told:
        first, *more = group[0].message.split("\n")
        rest = [f"    {line}" for line in more]
        if len(group) == 1:
            yield from [f"{_place(group[0])}: {first}", *rest]
            continue
        yield from [f"{len(group):,} scripts: {first}", *rest]
        count = len(group) if everything or len(group) == examples + 1 else examples
        yield from [f"    {_place(problem)}" for problem in group[:count]]
        if len(group) > count:
            yield f"    … and {len(group) - count:,} more"
    if left := groups[len(told) :]:
        yield f"… and {len(left):,} more kinds of errors in {sum(map(len, left)):,} scripts"


def _place(problem: Problem) -> str:
    return problem.path if problem.line is None else f"{problem.path}:{problem.line}"


def _hint(problem: Problem) -> str:
    """One command to run next, for the most frequent error."""
    if problem.message in {NO_FILE, NO_MATCH}:
        folder = os.path.dirname(problem.path.strip("'"))
        while is_pattern(folder):
            folder = os.path.dirname(folder)
        return f"ls {shlex.quote(folder or '.')}"
    if problem.message in {FOLDER, FOLDERS}:
        return f"sharedenv run {shlex.quote(os.path.join(problem.path, '*.py'))}"
    path = shlex.quote(problem.path)
    if problem.message == NO_BLOCK:
        return f"uv init --script {path}"
    # what has no line is about the file or link itself, or about its lock file
    return f"sed -n {problem.line}p {path}" if problem.line is not None else f"ls -ld {path}*"
