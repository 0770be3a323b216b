"""Paths, patterns and lists → the scripts to take, each once, in natural order."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence

POOL = ".sharedenv"
_MAGIC = re.compile(r"[*?\[]")
_DIGITS = re.compile(r"([0-9]+)")
_COMMENT = re.compile(r"\s+#")
_ANY_DEPTH = "**"


def expand(arguments: Iterable[str], cwd: str, listed: Iterable[str] = ()) -> list[str]:
    """Absolute paths of the scripts that the arguments name, each once, in the order given; then those of ``listed``.

    An argument is a file's name or a pattern: ``*``, ``?`` and ``[…]`` within one part of a path, ``**`` for any
    number of folders. A name that is there as it stands wins over the pattern it could be (``case[1]/script.py``).
    What a pattern matches comes in natural order: case2 before case10. Names of ``listed`` are never patterns. All
    are relative to ``cwd`` (absolute).

    - A pattern takes files, never folders. No wildcard matches a leading dot; ``**`` enters no hidden folder and
      follows no link to a folder (it could go round for ever; ``*`` does follow one); no wildcard enters a pool.
    - The same absolute path counts once. A symbolic link is not resolved: one that leads to a script in another
      folder is a case of its own, with its own folder to run in.
    - Nothing is raised: a name that isn't there, a pattern that matches nothing, a folder, and a folder that can't
      be read stay in the answer as they are, so that plan.py names them together with all other bad scripts.
    """
    found: dict[str, None] = {}
    for argument in arguments:
        path = absolute(argument, cwd)
        if _MAGIC.search(argument) and not os.path.lexists(path):
            found.update(dict.fromkeys(_matches(argument, cwd) or [path]))
        else:
            found[path] = None
    found.update(dict.fromkeys([absolute(name, cwd) for name in listed]))
    return list(found)


def read_list(data: bytes, *, nul: bool = False) -> list[str]:
    """The names in a list of files: one a line (empty lines don't count), or ended by NUL, as ``find -print0`` does."""
    if nul:
        return [os.fsdecode(name) for name in data.split(b"\0") if name]
    return [os.fsdecode(name) for line in data.split(b"\n") if (name := line.removesuffix(b"\r"))]


def tidy(names: Iterable[str], cwd: str) -> list[str]:
    """The names of a list as they were meant: without comments (`# …`, in a line of their own or behind a name), empty lines, and blanks
    around a name; a file that has such a name is taken as it stands.
    """
    found = []
    for name in names:
        bare = name.strip()
        if (bare == name and "#" not in name) or os.path.lexists(absolute(name, cwd)):
            found.append(name)
        elif bare and bare[0] != "#":
            found.append(_without_comment(bare, cwd))
    return found


def _without_comment(name: str, cwd: str) -> str:
    """The file that a line names which may end with a comment: the longest that is there; where none is, the line as it stands."""
    heads = [name, *(name[: match.start()] for match in reversed(list(_COMMENT.finditer(name))))]
    return next((head for head in heads if os.path.lexists(absolute(head, cwd))), name)


def is_pattern(name: str) -> bool:
    """Whether a name holds a wildcard."""
    return _MAGIC.search(name) is not None


def below_which(argument: str, cwd: str) -> str:
    """A path in the folder below which lies all that an argument can name: that of a file, or a pattern's up to its first wildcard."""
    if not _MAGIC.search(argument):
        return absolute(argument, cwd)
    names = argument.split("/")
    first = next(index for index, name in enumerate(names) if _MAGIC.search(name))
    return absolute("/".join([*names[:first], "x"]), cwd)


def natural(name: str) -> tuple[list[str | int], str]:
    """A key to sort names by in which numbers count as numbers: case2 before case10."""
    return [int(part) if part.isdecimal() and part.isascii() else part for part in _DIGITS.split(name)], name


def absolute(name: str, cwd: str) -> str:
    """The absolute path of a name, without ``.``, ``..`` and doubled slashes; of links, those before a ``..`` go."""
    path = os.path.join(cwd, name)
    if "/../" in path or path.endswith("/.."):  # behind a link, `..` is the parent of what it leads to
        head, _, tail = path.rpartition("/..")
        path = os.path.realpath(head + "/..") + tail
    return os.path.normpath(path)


_Part = str | Callable[[str], object]  # a literal name, `**`, or what tells whether a name matches
_Places = tuple[int, ...]  # which parts of a pattern may come next
_Step = tuple[str, _Places]  # a path, and what may come below it; nothing: it is a match


def _matches(pattern: str, cwd: str) -> list[str]:
    names = [name for name in pattern.split("/") if name not in {"", "."}]
    first = next(index for index, name in enumerate(names) if _MAGIC.search(name))
    start = absolute("/" * pattern.startswith("/") + "/".join(names[:first]), cwd)
    parts = _compile(names[first:])
    looks: dict[_Places, _Look] = {}  # few, and each is used in thousands of folders
    found: list[str] = []
    stack: list[_Step] = [(start, (0,))] if not pattern.endswith("/") else []  # an ending slash asks for folders
    while stack:
        path, places = stack.pop()
        if not places:
            found.append(path)
            continue
        look = looks.get(places)
        if look is None:
            look = looks[places] = _Look(places, parts)
        steps = look.steps(path)
        steps.reverse()
        stack += steps
    return [absolute(path, cwd) for path in found] if ".." in names else found


def _compile(names: Iterable[str]) -> list[_Part]:
    parts: list[_Part] = []
    for name in names:
        if name != _ANY_DEPTH:
            parts.append(_wildcard(name) if _MAGIC.search(name) else name)
        elif parts[-1:] != [_ANY_DEPTH]:
            parts.append(_ANY_DEPTH)
    if parts[-1] == _ANY_DEPTH:
        parts.append(_wildcard("*"))
    return parts


def _wildcard(part: str) -> Callable[[str], object]:
    match = re.compile(fnmatch.translate(part)).match
    if part.startswith("."):
        return lambda name: name != POOL and match(name)
    return re.compile(r"(?!\.)" + fnmatch.translate(part)).match


class _Look:
    """What to look for in a folder: the parts of the pattern that may come next there."""

    def __init__(self, places: _Places, parts: Sequence[_Part]) -> None:
        self._last = len(parts) - 1
        wanted = {*places, *(place + 1 for place in places if parts[place] == _ANY_DEPTH)}
        self._wanted = [(place, parts[place]) for place in sorted(wanted)]
        names = {part for _, part in self._wanted if isinstance(part, str)}
        literal = _ANY_DEPTH not in names and all(isinstance(part, str) for _, part in self._wanted)
        self._names = [self._literal(name) for name in sorted(names, key=natural)] if literal else None

    def steps(self, folder: str) -> list[_Step]:
        """What lies in a folder and may be, or lead to, a match, in natural order."""
        prefix = folder if folder.endswith("/") else folder + "/"
        if self._names is not None:  # no need to list the folder
            steps: list[_Step] = []
            for name, match, deeper in self._names:
                if match and _is_file(prefix + name):
                    steps.append((prefix + name, ()))
                if deeper:
                    steps.append((prefix + name, deeper))
            return steps
        try:
            with os.scandir(folder) as entries:
                found = [step for entry in entries if (step := self._step(entry))]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            return [(folder, ())]  # a match, so that its reader tells what is wrong with it
        if len(found) > 1:
            found.sort(key=lambda step: natural(step[0]))
        return [(prefix + name, following) for name, following in found]

    def _literal(self, name: str) -> tuple[str, bool, _Places]:
        places = [place for place, part in self._wanted if part == name]
        return name, self._last in places, tuple(place + 1 for place in places if place < self._last)

    def _step(self, entry: os.DirEntry[str]) -> _Step | None:
        """An entry's name with what may come below it (nothing: it is a match); None when it leads nowhere."""
        name = entry.name
        match, deeper = False, []
        for place, part in self._wanted:
            if part == _ANY_DEPTH:
                if name[0] != "." and entry.is_dir(follow_symlinks=False):
                    deeper.append(place)
            elif part == name if isinstance(part, str) else part(name):
                if place == self._last:
                    match = True
                else:
                    deeper.append(place + 1)
        if deeper and _is_folder(entry, in_doubt=True):
            return name, tuple(deeper)
        return (name, ()) if match and not _is_folder(entry, in_doubt=False) else None


def _is_folder(entry: os.DirEntry[str], *, in_doubt: bool) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round, or through a folder that can't be searched
        return in_doubt


def _is_file(path: str) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return os.path.islink(path)  # a dangling link is a match whose reader says so
    except OSError:
        return True
