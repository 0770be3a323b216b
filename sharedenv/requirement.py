"""Requirements and version specifiers → their normal form: equal meaning, equal text (PEP 503, 440, 508). Pure.

The only module that uses packaging. What is folded: case and ``_-.`` in names and extras, order of extras and
specifiers, spaces, quotes, spelling of versions (``v1.0``, ``1.0-1``), duplicates, and trailing zeros where the
operator ignores them (``>= <= > < == !=``). What never is: the zeros of ``~=1.0`` and ``==1.*``, anything about
``===``, the literals of markers, URLs and their fragments.

packaging and uv (0.13.9) read the same requirements but for these, found by trying both:

====================================  =========  =======  ===========================================================
text                                  packaging  uv       here
====================================  =========  =======  ===========================================================
``x @ ./folder``, ``x @ folder``      takes      refuses  refused: uv wants a URL with a scheme
``x @ https://host/x.whl;marker``     takes      refuses  refused: a marker wants a space before its semicolon
``x===anything``                      takes      refuses  refused: uv wants a version after ``===``, too
``x==99999999999999999999``           takes      refuses  refused: a number of a version fits in 64 bits
``x; dependency_groups == "a"``       takes      refuses  refused
``x === 1.0, <2``, ``x\\n>=1``          refuses    takes    taken
``x @ file:///${PROJECT_ROOT}/x``     takes      expands  refused: the key would not see what the variable holds
====================================  =========  =======  ===========================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from sharedenv.secret import keep_aside, strip_urls

#: the largest number that uv holds in one part of a version
_LARGEST = 2**64 - 1
_ARBITRARY = re.compile(r"===\s*([^\s,;)]+)\s*")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_URL = re.compile(r"(https?://|file:///|file://localhost/|git\+[a-z]+://)")


class RequirementError(ValueError):
    """A requirement or specifier that can't be read; the message names the text, without credentials, and the cause."""

    def __init__(self, message: str) -> None:
        super().__init__(strip_urls(message))


@dataclass(frozen=True, slots=True)
class Entry:
    """One requirement, taken apart and in normal form. ``marker`` and ``url`` are "" when absent."""

    name: str
    extras: frozenset[str]
    specifiers: frozenset[str]
    url: str
    marker: str

    def text(self) -> str:
        """PEP 508 text, as written into payloads and canonical scripts."""
        extras = f"[{','.join(sorted(self.extras))}]" if self.extras else ""
        source = f" @ {self.url}" if self.url else _joined(self.specifiers)
        return f"{self.name}{extras}{source}{f' ; {self.marker}' if self.marker else ''}"

    def without_credentials(self, urls: dict[str, str]) -> Entry:
        """The same with no credentials in its URL; ``urls`` learns what the URL was."""
        url = keep_aside(self.url, urls)
        return self if url == self.url else Entry(self.name, self.extras, self.specifiers, url, self.marker)


def merge(entries: Iterable[Entry]) -> list[str]:
    """Normal form of a list, sorted: entries of one name, marker and URL are merged into one."""
    merged: dict[tuple[str, str, str], Entry] = {}
    for entry in entries:
        place = (entry.name, entry.marker, entry.url)
        known = merged.get(place, entry)
        extras, specifiers = known.extras | entry.extras, known.specifiers | entry.specifiers
        merged[place] = Entry(entry.name, extras, specifiers, entry.url, entry.marker)
    return sorted(entry.text() for entry in merged.values())


@lru_cache(maxsize=4096)
def parse_requirement(text: str) -> Entry:
    """One requirement in normal form. Raises RequirementError."""
    try:
        requirement = Requirement(_tidy(text))
    except InvalidRequirement as error:
        raise RequirementError(f"{text!r}: {_in_words(error)}") from None
    except RecursionError:
        raise RequirementError("a marker with too many parentheses") from None
    marker = _marker(requirement, text)
    if requirement.url:
        _check_url(requirement.url, text)
    return Entry(
        normal_name(requirement.name),
        frozenset(normal_name(extra) for extra in requirement.extras),
        frozenset(_specifier(specifier, text) for specifier in requirement.specifier),
        requirement.url or "",
        marker,
    )


@lru_cache(maxsize=1024)
def parse_specifiers(text: str) -> str:
    """Normal form of a set of specifiers (requires-python), "" for any version. Raises RequirementError."""
    if "," in text and not all(part.strip() for part in text.split(",")):
        raise RequirementError(f"{text!r}: a comma with nothing beside it")
    try:
        specifiers = SpecifierSet(_ARBITRARY.sub(r"===\1 ", text) if "===" in text else text)
    except InvalidSpecifier as error:
        part = str(error).removeprefix("Invalid specifier: ")
        which = f"{text!r}" if part == repr(text) else f"{text!r}: {part}"
        raise RequirementError(f"{which} is not a version specifier, such as '>=3.10' or '>=3.10,<3.13'") from None
    return _joined(frozenset(_specifier(specifier, text) for specifier in specifiers))


@lru_cache(maxsize=1024)
def normal_name(text: str) -> str:
    """A package name by PEP 503. Raises RequirementError when it is none."""
    try:
        return canonicalize_name(text, validate=True)
    except ValueError as error:
        raise RequirementError(str(error)) from None


def admits(requires_python: str, version: str) -> bool:
    """Whether a requires-python (canonical, "" for any) admits this version of Python, pre-releases as uv counts them.

    uv compares the release alone (``3.14.0rc1`` meets ``>=3.14``): a pre-release stands for the version it leads to.
    """
    specifiers = SpecifierSet(requires_python)
    return specifiers.contains(version, prereleases=True) or specifiers.contains(Version(version).base_version)


def _in_words(error: InvalidRequirement) -> str:
    """What packaging expected and what stands there: it says the one in words and the other by an arrow under the text."""
    expected, *drawing = str(error).splitlines()
    expected = expected[:1].lower() + expected[1:]
    if len(drawing) != 2:  # a text of several lines
        return expected
    text, arrow = drawing
    return f"{expected}, found {text[arrow.index('^') :]!r}" if arrow.index("^") < len(text) else f"{expected}, found nothing more"


def _tidy(text: str) -> str:
    # two spellings that uv takes and packaging doesn't; literals of markers and URLs stay as they are
    head, semicolon, marker = text.partition(";")
    if "@" not in head and "===" in head:
        text = _ARBITRARY.sub(r"===\1 ", head) + semicolon + marker
    if "\n" in text and '"' not in text and "'" not in text:
        text = " ".join(text.split("\n"))
    return text


def _specifier(specifier: Specifier, text: str) -> str:
    operator, version = specifier.operator, specifier.version
    if any(int(number) > _LARGEST for number in re.findall(r"\d+", version)):
        raise RequirementError(f"{text!r}: a number of version {version} is too large")
    try:
        if operator == "===":
            Version(version)
        elif version.endswith(".*"):
            version = f"{Version(version[:-2])}.*"
        else:
            version = canonicalize_version(Version(version), strip_trailing_zero=operator != "~=")
    except InvalidVersion:
        raise RequirementError(f"{text!r}: {version!r} is not a version") from None
    return operator + version


def _joined(specifiers: frozenset[str]) -> str:
    return ",".join(sorted(specifiers))


def _marker(requirement: Requirement, text: str) -> str:
    if requirement.marker is None:
        return ""
    marker = str(requirement.marker)
    if "dependency_groups" in marker:
        raise RequirementError(f"{text!r}: uv does not know the marker dependency_groups")
    if not _is_canonical(marker):
        raise RequirementError(f"{text!r}: the marker has no canonical form")
    return marker


@lru_cache(maxsize=1024)
def _is_canonical(marker: str) -> bool:
    # a literal with a double quote in it may not survive being written down
    try:
        return str(Requirement(f"x ; {marker}").marker) == marker
    except InvalidRequirement:
        return False


def _check_url(url: str, text: str) -> None:
    if not _URL.match(url):
        raise RequirementError(f"{text!r}: {url!r} is not a URL (a path goes into [tool.uv.sources])")
    if ";" in url.partition("#")[0].rpartition("/")[2]:
        raise RequirementError(f"{text!r}: put a space before the semicolon that follows a URL")
    if variable := _VARIABLE.search(url):
        what = f"{variable.group()} in a URL is not seen by the key"
        raise RequirementError(f"{text!r}: {what} (write it out, or use [tool.uv.sources])")
