"""Why uv could not build, where it is something that a user can end: told apart by uv's words. Pure, as uv_words."""

from __future__ import annotations

import enum
import re

from sharedenv.values import frozen


class Kind(enum.Enum):
    """What keeps uv from building."""

    NETWORK = "no connection to a host"
    SLOW = "a host that takes too long"
    PROXY = "no way through the proxy"
    SERVER = "a host that answers with an error of its own"
    CERTIFICATE = "a certificate that nobody here knows"
    CREDENTIALS = "an index that wants credentials"
    FULL = "a disk that is full"
    OFFLINE = "the network is switched off, and the cache lacks something"
    UNKNOWN = "a name that no index knows"
    PYTHON = "a package that needs another Python"
    PRERELEASE = "nothing but pre-releases"
    UNSOLVED = "requirements that can't all be met"


#: what has nothing to do with the packages that were asked for: whatever is asked for will fail
OUTSIDE = frozenset(
    {Kind.NETWORK, Kind.SLOW, Kind.PROXY, Kind.SERVER, Kind.CERTIFICATE, Kind.CREDENTIALS, Kind.FULL, Kind.OFFLINE}
)

#: those of them that a further try meets again, after some seconds
UNREACHED = frozenset({Kind.NETWORK, Kind.SLOW, Kind.PROXY, Kind.SERVER, Kind.CERTIFICATE})


@frozen
class Trouble:
    """What kept uv from building.

    subject  what it is about: a URL (NETWORK to CREDENTIALS), a path (FULL), a package (OFFLINE, UNKNOWN), specifiers (PYTHON)
    why      uv's reason, in one line; for UNSOLVED all its sentences
    """

    kind: Kind
    subject: str
    why: str


#: "cause:" of today's uv; "Caused by:", and a frame, of older ones
_LEAD = re.compile(r"^\s*(?:error:|cause:|Caused by:|×|[├╰]─▶)\s*")
_URL = re.compile(r"https?://[^\s`'\")]+")
_PATH = re.compile(r"`(/[^`]+)`|at path \"(/[^\"]+)\"|(?: to |^)(/[^:]+):")
_STATUS = re.compile(r"HTTP status (?:server|client) error \((\d+ [^)]*)\)")
_UNKNOWN = re.compile(r"(\S+) was not found in the (?:package registry|registry|provided package locations)")
_NOT_CACHED = re.compile(r"(?:\b(\S+) was not found in the cache|Network connectivity is disabled[^`\n]*(?:`([^`]+)`)?)")
_PYTHON = re.compile(r"current Python version \((\S+)\) does not satisfy Python(\S+) and (?:all versions of )?(.+?) depends? on Python")
_TAGS = re.compile(r"You require CPython (\S+) .*found wheels for `([^`]+)` .*Python ABI tags?:.*`cp(\d)(\d+)`")
_INDEX = re.compile(r"An index(?: URL)? \((\S+)\).*?(\d{3} [A-Z][A-Za-z ]*?)(?:\)| error)")

#: what a host answers → what that means; of others those from 500 on are its own trouble, and below that file is not there
_STATUSES = {"401": Kind.CREDENTIALS, "403": Kind.CREDENTIALS, "407": Kind.PROXY}
#: of git, which uv calls
_GIT = re.compile(r"unable to access '[^']*': (.*(?:resolve host|connect to).*)")
#: what uv says of a connection that did not come about
_CONNECTIONS = (
    (re.compile("invalid peer certificate"), Kind.CERTIFICATE),
    (re.compile("tunnel error"), Kind.PROXY),
    (re.compile(r"client error \(Connect\)|dns error"), Kind.NETWORK),
    (re.compile(r"(?i)timed out|network timeout"), Kind.SLOW),
    (_GIT, Kind.NETWORK),
)


def trouble(words: str) -> Trouble | None:
    """What kept uv from building, by its words; None for what a user can't end by a variable or a command that is known here."""
    causes = [_LEAD.sub("", line).strip() for line in words.splitlines() if line.strip()]
    last = causes[-1] if causes else ""
    for cause in causes:
        if "(os error 28)" in cause or "(os error 122)" in cause or "No space left on device" in cause:
            found = _PATH.search(cause)
            return Trouble(Kind.FULL, next(filter(None, found.groups()), "") if found else "", _reason(cause))
    if "No solution found" not in words:
        return _unreachable(words, causes, last)
    return _unsolved(words)


def _unreachable(words: str, causes: list[str], last: str) -> Trouble | None:
    """What is wrong on the way to a host."""
    if found := _NOT_CACHED.search(words):
        return Trouble(Kind.OFFLINE, found[1] or found[2] or "", "")
    url = next((url[0] for cause in causes if (url := _URL.search(cause))), "").rstrip("`.,")
    if url and (found := _STATUS.search(words)):
        answer = _STATUSES.get(found[1][:3], Kind.SERVER)
        return Trouble(answer, url, found[1]) if answer is not Kind.SERVER or found[1].startswith("5") else None
    kind = next((kind for said, kind in _CONNECTIONS if said.search(words)), None)
    if kind is None or not url:
        return None
    git = _GIT.search(words)
    return Trouble(kind, url, git[1] if git else "" if kind is Kind.SLOW else _reason(last))


def _unsolved(words: str) -> Trouble:
    """Why no set of packages was found."""
    said = words[words.find("Because") :] if "Because" in words else words
    sentences = "\n".join(filter(None, (_LEAD.sub("", line).strip() for line in said.splitlines())))
    if found := _INDEX.search(words):
        return Trouble(Kind.CREDENTIALS, found[1], found[2])
    if (found := _NOT_CACHED.search(words)) or "the network was disabled" in words:
        return Trouble(Kind.OFFLINE, found[1] or "" if found else "", sentences)
    if found := _UNKNOWN.search(words):
        return Trouble(Kind.UNKNOWN, found[1], sentences)
    if found := _PYTHON.search(words):
        return Trouble(Kind.PYTHON, found[2], f"{found[3].replace('==', ' ')} needs Python {found[2]}, and this one is {found[1]}")
    if found := _TAGS.search(words):  # the last of them is the newest
        version = f"{found[3]}.{found[4]}"
        return Trouble(Kind.PYTHON, version, f"{found[2]} has wheels for Python {version}, and none for {found[1]}")
    return Trouble(Kind.PRERELEASE if "pre-releases weren't enabled" in words else Kind.UNSOLVED, "", sentences)


def _reason(cause: str) -> str:
    """What the system said at the end of a cause: `Connection refused`."""
    return re.sub(r" \(os error \d+\)$", "", cause).rpartition(": ")[2]
