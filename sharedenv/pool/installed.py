"""What is installed in an environment, package by package: read from its dist-infos (PyPA's "recording installed projects")."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import os

from sharedenv.key.versions import Git, Pin, Versions
from sharedenv.pool.check import normal_name
from sharedenv.start.regular import MOST, read_regular
from sharedenv.values import frozen

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
