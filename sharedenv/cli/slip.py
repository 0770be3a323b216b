"""What was probably meant by a command line whose scripts can't be used: words for the scripts, a name that is nearly one."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Sequence

from sharedenv.errors import SharedenvError
from sharedenv.script.find import absolute, expand, is_pattern
from sharedenv.script.problems import NO_FILE, BadScripts

_TAKES_WORDS = ("run", "submit", "plan")  #: the commands that give words to their scripts


def meant_by(error: SharedenvError, command: str | None, words: Sequence[str], here: str) -> str | None:
    """The command line that was probably meant, as a hint; None where nobody knows. ``words``: those of the command line."""
    assert isinstance(error, BadScripts)
    missing = {problem.path for problem in error.problems if problem.message == NO_FILE}
    if len(missing) < len(error.problems) or "--" in words:
        return None
    named = [word for word in words if absolute(word, here) in missing]
    if len(named) < len(missing):  # they are from a list
        return None
    if command in _TAKES_WORDS and error.some_good and not any(map(_like_script, named)):
        rest = [word for word in words if word not in named]
        return shlex.join(["sharedenv", *rest, "--", *named])
    near = _nearest(named[0], here)
    return shlex.join(["sharedenv", *(near if word == named[0] else word for word in words)]) if near else None


def _like_script(word: str) -> bool:
    return word.endswith(".py") or "/" in word or is_pattern(word)


def _nearest(word: str, here: str) -> str | None:
    """A pattern or a name like this one that names files."""
    head, parts = ("/", word.lstrip("/").split("/")) if word.startswith("/") else ("", word.split("/"))
    for index in range(len(parts)):
        before = "/".join(parts[:index])
        if index and not _there(head + before, here):
            return None
        if _there(head + "/".join(parts[: index + 1]), here):
            continue
        folders = [head + before] if not is_pattern(before) else _folders(head + before, here)
        if (near := _near(parts[index], folders, here)) is None:
            return None
        parts[index] = near
    found = head + "/".join(parts)
    return found if found != word and any(map(os.path.isfile, expand([found], here))) else None


def _near(part: str, folders: Sequence[str], here: str) -> str | None:
    """What lies in some folders and has nearly this name: with `*` for its numbers, where the name is a pattern."""
    stems: dict[str, str] = {}
    for folder in folders[:3]:
        for name in _names(os.path.join(here, folder)):
            stems.setdefault(re.sub(r"\d+", "", name) if is_pattern(part) else name, name)
    wanted = re.sub(r"[*?]|\[[^]]*\]|\d+", "", part) if is_pattern(part) else part
    close = difflib.get_close_matches(wanted, stems, 1)
    if not close:
        return None
    return re.sub(r"\d+", "*", stems[close[0]]) if is_pattern(part) else stems[close[0]]


def _there(pattern: str, here: str) -> bool:
    return bool(_folders(pattern, here))


def _folders(pattern: str, here: str) -> list[str]:
    """What a pattern names, folders too: the first few."""
    import glob  # noqa: PLC0415 - for a word about a mistake
    import itertools  # noqa: PLC0415 - as above

    if os.path.lexists(os.path.join(here, pattern)):
        return [pattern]
    return list(itertools.islice(glob.iglob(pattern, root_dir=here, recursive=True), 3))


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []
