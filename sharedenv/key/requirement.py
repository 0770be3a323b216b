"""Requirements and version specifiers → their normal form: equal meaning, equal text (PEP 503, 440, 508). Pure.

The only module that uses packaging. What is folded: case and ``_-.`` in names and extras, order of extras and
specifiers, spaces, quotes, spelling of versions (``v1.0``, ``1.0-1``), duplicates, and trailing zeros where the
operator ignores them (``>= <= > < == !=``). What never is: the zeros of ``~=1.0`` and ``==1.*``, anything about
``===``, the literals of markers, URLs and their fragments.

packaging and uv (0.13.9) read the same requirements but for these, found by trying both (tests/key/test_verdicts.py does):

====================================  =========  =======  ===========================================================
text                                  packaging  uv       here
====================================  =========  =======  ===========================================================
``x @ ./folder``, ``x @ folder``      takes      refuses  refused: uv wants a URL or an absolute path
``x @ https://host/x``                takes      refuses  refused: a file that is no wheel and no archive
``x @ https://host/x.whl;marker``     takes      refuses  refused: a marker wants a space before its semicolon
``x @ git+ftp://host/x``              takes      refuses  refused: git goes by https, http, ssh and file
``x.whl``, ``x.tar.gz``               takes      refuses  refused: a file's name, and no URL
``x()``                               takes      refuses  refused
``x===anything``                      takes      refuses  refused: uv wants a version after ``===``, too
``x==99999999999999999999``           takes      refuses  refused: a number of a version fits in 64 bits
``x; os_name === "a"``                takes      refuses  refused: no ``===`` in markers
``x; extras == "a"``                  takes      refuses  refused: uv knows ``"a" in extras`` alone
``x === 1.0, <2``                     refuses    takes    taken
``x\\n>=1``, ``x\\u00a0>=1``           refuses    takes    taken: any white space
``x @ file:///${PROJECT_ROOT}/x``     takes      expands  refused: the key would not see what the variable holds
``x @ https://${TOKEN}@host/x.whl``   takes      expands  taken: credentials are in no key
``x @ /with space/x``                 refuses    takes    refused: write it as a URL, with %20
``x @ https:host/x.whl``              takes      takes    refused: write the slashes
``x; os_name == "a\\nb"``             refuses    takes    refused: no name holds a line break
====================================  =========  =======  ===========================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from sharedenv.secret import hide, keep_aside, split_url
from sharedenv.values import frozen

#: the largest number that uv holds in one part of a version
_LARGEST = 2**64 - 2
_ARBITRARY = re.compile(r"===\s*([^\s,;)]+)\s*")
#: a literal of a marker, or white space that packaging doesn't know
_LITERAL_OR_SPACE = re.compile(r"""'[^']*'|"[^"]*"|[^\S \t\x1c-\x1f]""")
_NO_SPECIFIERS = re.compile(r"[^;@(]*\(\s*\)")
_FILE_NAME = re.compile(r"\.(whl|zip|tar|tbz|tgz|tlz|txz|tar\.(bz2|gz|lz|lzma|xz))$")
_MEMBERSHIP = re.compile(r'"" (not )?in (extras|dependency_groups)')
_VERSION_REQUEST = re.compile(r"(?i:cpython@?|python)?(\d+\.\d+)(\.\d+)?")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_PLACE = re.compile(r"(https?://|git\+(https?|ssh|file)://|file:/(?!/)|file://(localhost)?/|/)")
_DISTRIBUTION = re.compile(r"[^/]\.(whl|zip|tar|tbz|tgz|tlz|txz|tar\.(bz2|gz|lz|lzma|xz|zst))/?$")


class RequirementError(ValueError):
    """A requirement or specifier that can't be read; the message names the text, without credentials, and the cause."""

    def __init__(self, message: str) -> None:
        super().__init__(hide(message))


@frozen
class NormalEntry:
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

    def without_credentials(self, urls: dict[str, str]) -> NormalEntry:
        """The same with no credentials in its URL; ``urls`` learns what the URL was."""
        url = keep_aside(self.url, urls)
        return self if url == self.url else NormalEntry(self.name, self.extras, self.specifiers, url, self.marker)


def merge(entries: Iterable[NormalEntry]) -> list[str]:
    """Normal form of a list, sorted: entries of one name, marker and URL are merged into one."""
    merged: dict[tuple[str, str, str], NormalEntry] = {}
    for entry in entries:
        place = (entry.name, entry.marker, entry.url)
        known = merged.get(place, entry)
        extras, specifiers = known.extras | entry.extras, known.specifiers | entry.specifiers
        merged[place] = NormalEntry(entry.name, extras, specifiers, entry.url, entry.marker)
    return sorted(entry.text() for entry in merged.values())


@lru_cache(maxsize=4096)
def parse_requirement(text: str) -> NormalEntry:
    """One requirement in normal form. Raises RequirementError."""
    tidy = _tidy(text)
    try:
        requirement = Requirement(tidy)
    except InvalidRequirement as error:
        raise RequirementError(f"{text!r}: {_in_words(error)}") from None
    except RecursionError:
        raise RequirementError("a marker with too many parentheses") from None
    marker = _marker(requirement, text)
    if requirement.url:
        _check_url(requirement.url, text)
    elif _NO_SPECIFIERS.match(tidy):
        raise RequirementError(f"{text!r}: no version between the parentheses")
    elif not requirement.specifier and _FILE_NAME.search(requirement.name):
        raise RequirementError(f"{text!r}: the name of a file (write `NAME @ URL`, or use [tool.uv.sources])")
    return NormalEntry(
        normal_name(requirement.name),
        frozenset(normal_name(extra) for extra in requirement.extras),
        frozenset(_specifier(specifier, text) for specifier in requirement.specifier),
        requirement.url or "",
        marker,
    )


@lru_cache(maxsize=1024)
def parse_specifiers(text: str) -> str:
    """Normal form of a set of specifiers (requires-python), "" for any version. Raises RequirementError."""
    if text and not all(part.strip() for part in text.split(",")):
        raise RequirementError(f"{text!r}: a comma with nothing beside it" if "," in text else f"{text!r}: nothing but white space")
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


@lru_cache(maxsize=1024)
def leaves_room(requires_python: str, request: str) -> bool:
    """Whether a requires-python (canonical) admits some Python of the version requested: ``3.10``, ``cpython@3.10.13``.

    True for a request that is no single version: only the Python itself can tell.
    """
    found = _VERSION_REQUEST.fullmatch(request)
    if found is None:
        return True
    patches = [found[2]] if found[2] else [f".{patch}" for patch in range(100)]
    return any(admits(requires_python, found[1] + patch) for patch in patches)


def _in_words(error: InvalidRequirement) -> str:
    """What packaging expected and what stands there: it says the one in words and the other by an arrow under the text."""
    expected, *drawing = str(error).splitlines()
    expected = expected[:1].lower() + expected[1:]
    if len(drawing) != 2:  # a text of several lines
        return expected
    text, arrow = drawing
    return f"{expected}, found {text[arrow.index('^') :]!r}" if arrow.index("^") < len(text) else f"{expected}, found nothing more"


def _tidy(text: str) -> str:
    # spellings that uv takes and packaging doesn't; literals of markers and URLs stay as they are
    text = _LITERAL_OR_SPACE.sub(lambda found: " " if found[0].isspace() else found[0], text)
    head, semicolon, marker = text.partition(";")
    if "@" not in head and "===" in head:
        text = _ARBITRARY.sub(r"===\1 ", head) + semicolon + marker
    return text


def _specifier(specifier: Specifier, text: str) -> str:
    operator, version = specifier.operator, specifier.version
    if any(int(number) > _LARGEST for number in re.findall(r"\d+", version.partition("+")[0])):
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
    if not _is_canonical(marker):
        raise RequirementError(f"{text!r}: the marker has no canonical form")
    outside = _MEMBERSHIP.sub("", re.sub(r'"[^"]*"', '""', marker))  # of its literals
    if "===" in outside:
        raise RequirementError(f"{text!r}: uv knows no === in a marker")
    if found := re.search(r"extras|dependency_groups", outside):
        raise RequirementError(f"{text!r}: uv takes {found[0]} in a marker as `'name' in {found[0]}` alone")
    return marker


@lru_cache(maxsize=1024)
def _is_canonical(marker: str) -> bool:
    # a literal with a double quote in it may not survive being written down
    try:
        return str(Requirement(f"x ; {marker}").marker) == marker
    except InvalidRequirement:
        return False


def _check_url(url: str, text: str) -> None:
    if variable := _VARIABLE.search(split_url(url)[0]):  # one that holds credentials has nothing to say in a key
        what = f"{variable.group()} in a URL is not seen by the key"
        raise RequirementError(f"{text!r}: {what} (write it out, or use [tool.uv.sources])")
    if not _PLACE.match(url):
        raise RequirementError(f"{text!r}: {url!r} is not a URL (a path goes into [tool.uv.sources])")
    if ";" in url.partition("#")[0].rpartition("/")[2]:
        raise RequirementError(f"{text!r}: put a space before the semicolon that follows a URL")
    if fault := source_fault(url):
        raise RequirementError(f"{text!r}: {fault}")


def url_fault(url: str) -> str | None:
    """Why uv can't read a URL, or None."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "not a valid URL"
    if parts.scheme.removeprefix("git+") in ("http", "https", "ssh") and not parts.hostname:
        return "a URL without a host"
    return "white space in the name of a host" if re.search(r"\s", parts.netloc) else None


def source_fault(url: str) -> str | None:
    """What uv has against a URL that a package comes from, or None."""
    if fault := url_fault(url):
        return fault
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and not _DISTRIBUTION.search(parts.path):
        return "a URL of neither a wheel nor an archive (.whl, .tar.gz, .zip …)"
    if parts.scheme.startswith("git+") and parts.path.count("@") > 1:
        return "more than one @ in a git URL (write %40 in the name of a branch)"
    return None
