"""What uv's words mean, and why it could not build, where that is something that a user can end. Pure, and the only one that knows them."""

from __future__ import annotations

import enum
import errno
import os
import re

from sharedenv.values import frozen

LINES = 14  #: at most so many lines of uv's words in a message; all of them are in the log
#: from "[stderr]" on, what a shim says of versions of Python that pyenv has, and how to choose one
_SHIM = re.compile(r"\n\s*\[stderr\]\s*\n\s*pyenv: .*", re.DOTALL)

_OPTIONS = re.compile(r"(unknown field `([^`]*)`), expected one of .*")
_FIELD = re.compile(r"(unknown field `([^`]*)`)")
#: uv can't make its cache, or a file of its own in it
_NO_CACHE = re.compile(r'Failed to initialize cache at|\(os error (13|30)\) at path "[^"]*/\.tmp')
_NO_LOCK = re.compile(r"failed to lock .*\(os error (37|95|524)\)")


def gist(words: str) -> str:
    """uv's words on one screen: without what a shim of pyenv adds to them, the names of all options, and the middle of what is long."""
    lines = [_OPTIONS.sub(r"\1", line) for line in _SHIM.sub("", words).splitlines() if line.strip()]
    if len(lines) > LINES:
        left = len(lines) - LINES + 1
        lines[LINES - 4 : -3] = [f"… {left:,} more lines …"]
    return "\n".join(lines)


_CHANGED = re.compile(r"Hash mismatch for `([^`]+)`")
_LACKING = re.compile(r"Failed to (?:download|fetch|build|download and build|extract|unzip|prepare)[^`\n]*`([^`]+)`")
_UNREACHABLE = re.compile(r"(?i)network (was|connectivity is) disabled|error sending request|dns error|connect error|timed out")


@frozen
class Lacking:
    """What uv could not have for an exact set of packages: their names as uv has them (`alpha==1.0`), and why, in its words.

    changed      they are there, and their bytes are others
    unreachable  nothing is said of the packages: the network is off, or a server does not answer
    """

    names: tuple[str, ...]
    why: str
    changed: bool
    unreachable: bool


def lacking(words: str) -> Lacking | None:
    """What of an exact set of packages can't be had; None when uv failed for another reason."""
    changed = tuple(dict.fromkeys(_CHANGED.findall(words)))
    names = changed or tuple(dict.fromkeys(_LACKING.findall(words)))
    why = gist(words[max(0, words.find("error:")) :])  # what stands before tells of the preview that pylock is
    return Lacking(names, why, bool(changed), _UNREACHABLE.search(words) is not None) if names else None


#: the units in which uv tells the size of a file
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DOWNLOADING = re.compile(r"\s*Downloading (\S+) \(([\d.]+)([KMG]?i?B)\)")
_HERE = re.compile(r"\s*Downloaded (\S+)")
_BUILDING = re.compile(r"\s*Building (\S+)")
_BUILT = re.compile(r"\s*Built (\S+)")


class Phases:
    """What uv does, by the lines it says: give `hear` each, `text` is what goes on (`downloading numpy, pandas: 12 of 28 MB`)."""

    def __init__(self) -> None:
        self._sizes: dict[str, float] = {}
        self._here: set[str] = set()
        self._building: list[str] = []
        self.text = ""  # nothing said yet

    def hear(self, line: str) -> None:
        """A line of uv's."""
        if found := _DOWNLOADING.match(line):
            self._sizes[found[1]] = float(found[2]) * _UNITS[found[3]]
        elif found := _HERE.match(line):
            self._here.add(found[1])
        elif found := _BUILDING.match(line):
            self._building.append(found[1])
        elif found := _BUILT.match(line):
            self._building = [name for name in self._building if name != found[1]]
        elif line.startswith("Resolved "):
            self.text = "downloading"
            return
        elif line.startswith("Prepared "):
            self.text = "installing"
            return
        elif line.startswith("Installed "):
            self.text = "compiling bytecode"
            return
        else:
            return
        self.text = self._at_work()

    def _at_work(self) -> str:
        left = [name for name in self._sizes if name not in self._here]
        if left:
            total, done = sum(self._sizes.values()), sum(self._sizes[name] for name in self._here & self._sizes.keys())
            sizes = f"{done / 1e9:.1f} of {total / 1e9:.1f} GB" if total >= 1e9 else f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
            return f"downloading {_some(left)}: {sizes}"
        return f"building {_some(self._building)}" if self._building else "unpacking"


def _some(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2:,} more" if len(names) > 2 else "")


def could_not_link(words: str) -> bool:
    """Whether uv gave up since a file of its cache takes no more names: 47 on GlusterFS (ENOSPC), 65,000 on ext4 (EMLINK).

    Where the very first is refused, uv copies by itself.
    """
    return re.search(r"failed to hard ?link", " ".join(words.split()), re.IGNORECASE) is not None


@frozen
class LockFault:
    """What uv has against a lock file. ``reason`` is said after the file's name; ``readable``: `uv lock` can renew it."""

    reason: str
    readable: bool


def lock_fault(words: str) -> LockFault | None:
    """What uv has against a lock file; None when it failed for another reason."""
    said = " ".join(words.split())
    if "needs to be updated, but `--locked` was provided" in said:
        return LockFault("does not match it", readable=True)
    # uv calls every lock file so
    if "Failed to parse `uv.lock`" in said or "The lockfile at `uv.lock` uses an unsupported schema version" in said:
        return LockFault(f"is damaged, or from another uv\n{gist(words)}", readable=False)
    return None


def found_none(words: str) -> bool:
    """Whether all that uv has against a request for a Python is that there is none."""
    return "No interpreter found" in words


def cannot_read_config(words: str) -> bool:
    """Whether uv could not make anything of the uv.toml it was given."""
    return re.search("Failed to parse: `?uv.toml", words) is not None


def other_uv(words: str) -> str | None:
    """The version of uv that settings want (specifiers), where uv refuses because it is another; else None."""
    found = re.search(r"Required uv version `([^`]+)` does not match", words)
    return found[1] if found else None


def unknown_option(words: str) -> str | None:
    """The option that uv has stumbled over, since it knows none of that name; None when it failed for another reason."""
    found = _OPTIONS.search(words) or _FIELD.search(words)
    return found[2] if found else None


def way_round(words: str) -> str | None:
    """The command that ends what has kept uv from working, where its words tell it; else None."""
    # a home that can't be written, or on a file system without flock (ENOLCK and 524; with ENOSYS uv goes on): its cache
    # can be anywhere
    if _NO_CACHE.search(words) or _NO_LOCK.search(words):
        return 'export UV_CACHE_DIR="$(mktemp -d)"'
    # a thread or a process that it could not start (EAGAIN), most times a panic of uv's
    return "ulimit -u" if os.strerror(errno.EAGAIN) in words else None


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
