"""What is installed in an environment, package by package, in its dist-infos (PyPA's "recording installed projects"): read, and their
RECORD after files that it names were written anew; and the URLs that an installer writes there ("recording the direct URL origin"),
without credentials, and which of them lead to folders and files of this machine.

uv leaves out what stands before the host, and keeps a token in the query.
"""

from __future__ import annotations

import base64
import csv
import glob
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote

from sharedenv.key.versions import Git, Pin, Versions
from sharedenv.pool.check import normal_name
from sharedenv.pool.files import private
from sharedenv.secret import strip_url
from sharedenv.start.regular import MOST, read_regular
from sharedenv.values import frozen


def rewrite_record(folder: str, written: Mapping[str, bytes]) -> bool:
    """Puts hash and size of files into the RECORD in a dist-info folder; whether it names any of them. Raises OSError.

    ``written``: what the files hold now, by their paths as the RECORD has them (relative to site-packages).
    """
    path = os.path.join(folder, "RECORD")
    rows = list(csv.reader(io.StringIO(read_regular(path, MOST).decode(), newline="")))
    named = [row for row in rows if row and row[0] in written]
    for row in named:
        data = written[row[0]]
        row[1:] = [f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()}", str(len(data))]
    if named:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_anew(path, text.getvalue().encode())
    return bool(named)


def write_anew(path: str, data: bytes) -> None:
    """Another file with the mode of the one that is there, in its place: that one may have a second name in uv's cache."""
    with open(path + ".new", "wb", opener=private) as file:
        file.write(data)
    os.chmod(path + ".new", stat.S_IMODE(os.stat(path).st_mode))
    os.replace(path + ".new", path)


_NAME = "direct_url.json"


def hide_credentials(venv: str) -> None:
    """Takes credentials out of every direct_url.json, and writes what it is now into the RECORD beside it. Raises OSError.

    Both files are the environment's own, not links into uv's cache: uv writes them anew at each install.
    """
    for path in _paths(venv):
        document = json.loads(read_regular(path))
        url = strip_url(document["url"])
        if url == document["url"]:
            continue
        data = json.dumps({**document, "url": url}, separators=(",", ":")).encode()
        write_anew(path, data)
        folder = os.path.dirname(path)
        rewrite_record(folder, {f"{os.path.basename(folder)}/{_NAME}": data})


@frozen
class Local:
    """A package of an environment that is from this machine's folders and files. ``linked``: an editable one, which is used in place."""

    name: str  # normal form of PEP 503
    path: str
    linked: bool


def local_packages(venv: str) -> list[Local]:
    """The packages of an environment that are from this machine, by name. Raises OSError, ValueError."""
    found = []
    for path in _paths(venv):
        document = json.loads(read_regular(path))
        url = document["url"]
        if url.startswith("file:") and "vcs_info" not in document:
            name = os.path.basename(os.path.dirname(path)).partition("-")[0]
            linked = bool(document.get("dir_info", {}).get("editable"))
            found.append(Local(normal_name(name), unquote(url.removeprefix("file://")), linked))
    return sorted(found, key=lambda package: package.name)


def edited(venv: str, names: Sequence[str] | None) -> str | None:
    """The first file that was changed since an environment was built from it, as far as it is one of these packages (None: of any).

    The clock is that of the file systems: a file counts as changed when its inode was later than the environment's own
    pyvenv.cfg, which is older than all that was built into it.
    """
    try:
        built = os.stat(os.path.join(venv, "pyvenv.cfg")).st_mtime
        for package in local_packages(venv):
            if not package.linked and (names is None or package.name in names):
                for path in _files(package.path):
                    if os.stat(path).st_ctime >= built:
                        return path
    except (OSError, ValueError, KeyError):  # what is gone or damaged is for others to say
        return None
    return None


#: what a build leaves in the folder that it builds from
_LEFT = ("__pycache__", "build", "dist")


def _files(path: str) -> Iterable[str]:
    """The sources in a folder, or the file that it is."""
    if not os.path.isdir(path):
        yield path
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if not (name.startswith(".") or name in _LEFT or name.endswith(".egg-info"))]
        yield from (os.path.join(folder, name) for name in names if not name.endswith(".pyc"))


def _paths(venv: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "*.dist-info", _NAME))


#: files of a dist-info that tell of one installation
_OWN = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")


@frozen
class Distribution:
    """One installed package. ``linked``: it is used where it lies (editable); ``built``: here; ``tags``: of its wheel."""

    pin: Pin
    linked: bool
    built: bool
    tags: frozenset[str]


def distributions(venv: str) -> list[Distribution]:
    """All that is installed in an environment, by name. Raises OSError, ValueError."""
    folders = glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "*.dist-info"))
    return sorted(map(_distribution, folders), key=lambda found: found.pin.name)


def _distribution(folder: str) -> Distribution:
    stem, _, version = os.path.basename(folder).removesuffix(".dist-info").partition("-")
    name = normal_name(stem)
    origin = json.loads(_read(folder, "direct_url.json") or "{}")
    pin = Pin(name, version)
    subdirectory = origin.get("subdirectory", "")
    if vcs := origin.get("vcs_info"):
        pin = Pin(name, version, git=Git(origin["url"], vcs["commit_id"], subdirectory))
    elif "archive_info" in origin:
        pin = Pin(name, version, url=origin["url"] + (f"#subdirectory={subdirectory}" if subdirectory else ""))
    elif "dir_info" in origin:
        pin = Pin(name, version, folder=origin["url"])
    tags = frozenset(line[5:].strip() for line in _read(folder, "WHEEL").splitlines() if line.startswith("Tag: "))
    built = os.path.exists(os.path.join(folder, "uv_build.json"))
    return Distribution(pin, bool(origin.get("dir_info", {}).get("editable")), built, tags)


def versions_in(venv: str, python: str, since: str) -> Versions:
    """All that is installed in an environment, without the files of packages. ``python``: the minor version. Raises OSError, ValueError."""
    return Versions(python, since, tuple(distribution.pin for distribution in distributions(venv)))


def record_digest(venv: str, name: str) -> str:
    """sha256 of what the RECORD of a package says of the files that came with it; "" where it has none."""
    for folder in glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "*.dist-info")):
        if normal_name(os.path.basename(folder).partition("-")[0]) == name:
            info = os.path.basename(folder)
            rows = [row for row in csv.reader(_read(folder, "RECORD").splitlines()) if len(row) > 1]
            own = {f"{info}/{file}" for file in _OWN}
            kept = sorted(f"{row[0]},{row[1]}" for row in rows if row[0] not in own and not row[0].startswith("..") and row[1])
            return hashlib.sha256("\n".join(kept).encode()).hexdigest() if kept else ""
    return ""


def _read(folder: str, name: str) -> str:
    try:
        return read_regular(os.path.join(folder, name), MOST, follow=True).decode()
    except FileNotFoundError:
        return ""
