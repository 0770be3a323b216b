"""sharedenv.lock, one lock for all copies: the value and its TOML. Pure.

An entry is found by what scripts ask for (requires-python, dependencies, [tool.uv], in the normal form of a payload), whatever the
settings of a machine; under it stands one table a platform and minor version of Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from functools import lru_cache
from typing import Any

import tomli

from sharedenv.key.toml import toml_value
from sharedenv.key.versions import File, Git, Pin, Versions
from sharedenv.start.fingerprint import sha256
from sharedenv.values import frozen

NAME = "sharedenv.lock"  #: at the project's root; and the field of a payload that has the digest of what is used of it
VERSION = 1
ASKED = ("requires-python", "dependencies", "tool.uv")  #: fields of a payload by which an entry is found

_HEAD = f"""\
# The versions of packages, one set for all copies of a script: `sharedenv lock` writes this file; commit it.
# The numbered lines keep apart what two branches add, so that git can merge them.
version = {VERSION}

"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MINOR = re.compile(r"\d+\.\d+")
_DIGITS = "0123456789abcdef"


class LockError(ValueError):
    """A sharedenv.lock that can't be read, in words for the user.

    newer    a newer sharedenv wrote it
    merging  git has left both sides of a conflict in it
    """

    def __init__(self, message: str, *, newer: bool = False, merging: bool = False) -> None:
        super().__init__(message)
        self.newer = newer
        self.merging = merging


class NotLocked(LookupError):
    """What a script asks for is not locked here; why, in words for the user."""


@frozen
class LockEntry:
    """What is locked for one set of requirements.

    asked   the fields ASKED of a payload
    python  the minor version that is taken where no Python is asked for: of the first table that was made
    tables  versions by platform and minor version of Python
    loose   why nothing can be locked (a folder of this machine), and all is installed as it is then; "" where it can
    """

    asked: Mapping[str, Any]
    python: str = ""
    tables: Mapping[tuple[str, str], Versions] = field(default_factory=dict)
    loose: str = ""

    @property
    def id(self) -> str:
        """sha256 of what is asked for, 64 hex digits."""
        return identify(self.asked)

    def with_table(self, platform: str, versions: Versions) -> LockEntry:
        """The same with this table in place of what there was."""
        tables = {**self.tables, (platform, versions.python): replace(versions, since="")}
        return replace(self, python=self.python or versions.python, tables=tables, loose="")

    def choose(self, platform: str, admits: Callable[[str], bool]) -> Versions | None:
        """The table that counts on a platform; None where nothing can be locked. Raises NotLocked.

        ``admits``: whether what is asked for can be a Python of this minor version.
        """
        if self.loose:
            return None
        here = {python: versions for (where, python), versions in self.tables.items() if where == platform}
        if not here:
            platforms = ", ".join(sorted({where for where, _ in self.tables}))
            raise NotLocked(f"{NAME} has it for {platforms or 'no platform'} alone, and this is {platform}")
        fit = [python for python in here if admits(python)]
        if not fit:
            raise NotLocked(f"{NAME} has it for Python {', '.join(sorted(here, key=_number))} alone, and another is asked for")
        return here[self.python if self.python in fit else max(fit, key=_number)]


@frozen
class ProjectLock:
    """All entries, by their id."""

    entries: Mapping[str, LockEntry] = field(default_factory=dict)

    def find(self, document: Mapping[str, Any]) -> LockEntry:
        """The entry of a payload's document. Raises NotLocked."""
        try:
            return self.entries[identify(document)]
        except KeyError:
            raise NotLocked(f"{NAME} has no entry for it") from None

    def with_entries(self, entries: Iterable[LockEntry]) -> ProjectLock:
        """The same with these in place of those of the same requirements."""
        return ProjectLock({**self.entries, **{entry.id: entry for entry in entries}})

    @property
    def text(self) -> str:
        """The file: the same bytes for the same entries."""
        lines = []
        for digit in _DIGITS:
            lines.append(f"# {digit}\n")
            lines += [_entry_text(entry) for found, entry in sorted(self.entries.items()) if found[0] == digit]
        return _HEAD + "".join(lines)


def identify(document: Mapping[str, Any]) -> str:
    """The id of the entry of a payload's document, or of the fields ASKED alone."""
    asked = {name: document[name] for name in ASKED}
    return sha256(json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def digest(versions: Versions) -> str:
    """sha256 of a table, 64 hex digits: what counts of it in a key."""
    return sha256(f"{versions.python}\n{''.join(_packages(versions))}".encode()).hexdigest()


@lru_cache(maxsize=2)  # one command may look at it for each script that it notes in the index
def parse_project_lock(text: str) -> ProjectLock:
    """A sharedenv.lock from its text. Raises LockError."""
    if re.search(r"^(<{7}|={7}|>{7})( |$)", text, re.MULTILINE):
        raise LockError("it holds the conflict markers of a merge: keep what stands on both sides of each", merging=True)
    try:
        value = tomli.loads(text)
        version = value["version"]
        if isinstance(version, int) and version > VERSION:
            raise LockError(f"it is of version {version}, and this sharedenv understands {VERSION}", newer=True)
        if version != VERSION:
            raise LockError(f"it is of version {version!r}, which there is not")
        return ProjectLock().with_entries(map(_entry, value.get("script", [])))
    except tomli.TOMLDecodeError as error:
        raise LockError(f"it is damaged: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, LockError):
            raise
        raise LockError("it is damaged: what it holds is not what `sharedenv lock` writes") from None


def _entry(table: Mapping[str, Any]) -> LockEntry:
    rest = dict(table)
    asked = {name: rest.pop(name) for name in ASKED[:2]} | {"tool.uv": rest.pop("tool", {}).get("uv", {})}
    python, loose = str(rest.pop("python", "")), str(rest.pop("not-locked", ""))
    tables = {}
    for platform, by_python in rest.items():
        for minor, packages in by_python.items():
            if not _MINOR.fullmatch(minor):
                raise ValueError(minor)
            tables[platform, minor] = Versions(minor, "", tuple(_pin(name, packages[name]) for name in sorted(packages)))
    return LockEntry(asked, python, tables, loose)


def _pin(name: str, table: Mapping[str, Any]) -> Pin:
    known = {"version", "sha256", "url", "record", "git", "commit", "subdirectory"}
    if table.keys() - known:
        raise ValueError(name)
    hashes = table.get("sha256", [])
    hashes = [hashes] if isinstance(hashes, str) else hashes
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes):
        raise ValueError(name)
    url = str(table.get("url", ""))
    files = tuple(File("archive" if url else "", url.partition("#")[0], digest) for digest in hashes)
    git = Git(table["git"], table["commit"], table.get("subdirectory", "")) if "git" in table else None
    return Pin(name, str(table["version"]), files=files, git=git, record=str(table.get("record", "")), url=url)


def _entry_text(entry: LockEntry) -> str:
    lines = ["", "[[script]]", f"requires-python = {toml_value(entry.asked['requires-python'])}"]
    dependencies = [f"    {toml_value(text)}," for text in entry.asked["dependencies"]]
    lines += ["dependencies = [", *dependencies, "]"] if dependencies else ["dependencies = []"]
    lines += [f"tool.uv.{_key(name)} = {toml_value(value)}" for name, value in sorted(entry.asked["tool.uv"].items())]
    if entry.loose:
        lines.append(f"not-locked = {toml_value(entry.loose)}")
    if entry.python:
        lines.append(f"python = {toml_value(entry.python)}")
    text = "\n".join(lines) + "\n"
    for platform, python in sorted(entry.tables, key=lambda place: (place[0], _number(place[1]))):
        text += f'\n[script.{platform}."{python}"]\n{"".join(_packages(entry.tables[platform, python]))}'
    return text + "\n"


def _packages(versions: Versions) -> Iterator[str]:
    for pin in sorted(versions.pins, key=lambda pin: pin.name):
        hashes = sorted(file.sha256 for file in pin.files)
        fields: dict[str, Any] = {"version": pin.version, "url": pin.url, "record": pin.record}
        fields["sha256"] = hashes[0] if len(hashes) == 1 else hashes
        if pin.git:
            fields |= {"git": pin.git.url, "commit": pin.git.commit, "subdirectory": pin.git.subdirectory}
        words = ", ".join(f"{name} = {toml_value(value)}" for name, value in fields.items() if value)
        yield f"{_key(pin.name)} = {{ {words} }}\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml_value(name)


def _number(python: str) -> list[int]:
    return list(map(int, python.split(".")))
