"""A build of what is held: nothing is resolved, and nothing else than what is held comes out of it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from sharedenv.build.interpreter import Fetches, Search, find_interpreter
from sharedenv.build.options import BuildOptions
from sharedenv.build.sources import (
    Altered,
    Gone,
    PackageSource,
    elsewhere,
    pin_installed,
    pip_environment,
    with_files,
    write_pylock,
)
from sharedenv.build.uv import Uv, UvFailed, sync_pylock, unmet
from sharedenv.build.uv_words import Lacking, lacking
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.make import moves
from sharedenv.key.payload import Payload
from sharedenv.key.plan import Need
from sharedenv.key.project_lock import NAME
from sharedenv.key.requires_python import narrowness
from sharedenv.key.uv_inputs import Inputs
from sharedenv.key.versions import Pin, Versions, differences
from sharedenv.pool.held import minor, utc
from sharedenv.start.access import SHORT

if TYPE_CHECKING:
    from sharedenv.build.seal import Installed

#: flags of `uv sync --script` that say how, and not what; `uv pip sync` has them too
_HOW = ("--compile-bytecode", "--no-compile-bytecode", "--offline", "--no-cache", "--link-mode", "copy")


class HeldDiffers(UvFailed):
    """What came out of a build is not what is held, in words for the user. ``packages``: those that differ, if it is them."""

    def __init__(self, words: str, status: int, hint: str | None = None, packages: tuple[str, ...] = ()) -> None:
        super().__init__(words, status, hint)
        self.packages = packages


def not_held(payload: Payload) -> str | None:
    """Why versions of this key are not held in the pool, for the user; None where they are."""
    document = payload.document
    if document["lock"] is not None:
        return "held by its lock file"
    if NAME in document:
        return None
    if moves(payload):
        return "not held: some of its sources may move (a local folder, a branch)"
    if document["settings"].get("UV_NO_INSTALLER_METADATA"):  # what came from a URL can't be told from what came from an index
        return "not held: UV_NO_INSTALLER_METADATA is set"
    return None


def constraints(held: Versions, options: BuildOptions) -> tuple[str, ...]:
    """What keeps the packages that are not to move at their versions, where some are named that are."""
    if not options.upgrade_packages:
        return ()
    stay = (pin for pin in held.pins if pin.name not in options.upgrade_packages and not (pin.url or pin.git or pin.folder))
    return tuple(f"{pin.name}==={pin.version}" for pin in stay)


def find_held(held: Versions | None, search: Search, options: BuildOptions) -> str:
    """Absolute path of a Python to build with: of the minor version that is held, unless all is to move. Raises UvFailed."""
    if held is None or (options.upgrade and not options.upgrade_packages):
        return find_interpreter(search)
    exactly = f"=={held.python}.*"
    request = search.request
    if request and re.match(r"[<>=!~]", request):
        request = f"{request},{exactly}"
    elif request and f"{held.python}.".startswith(f"{request}."):
        request = held.python
    requires, loose = (text and f"{text},{exactly}" for text in (search.requires, search.loose))
    try:
        return find_interpreter(replace(search, request=request, requires=requires or exactly, loose=loose))
    except UvFailed as failure:
        told = failure
    find_interpreter(replace(search, environ={**search.environ, "UV_PYTHON_DOWNLOADS": "never"}))  # if none fits at all, that is said
    said = told.words
    if search.loose is None and (narrow := narrowness(search.requires)):
        said = f"to the letter, as --strict-python has it, requires-python doesn't admit that: {narrow}"
    raise HeldDiffers(f"it is held at Python {held.python}\n{said}", told.status, told.hint)


def source_of(
    uv: Uv, inputs: Inputs, environ: Mapping[str, str], staging: str, root: str, python: str, offline: bool, log: IO[str], fetches: Fetches
) -> PackageSource:
    """Where the packages of a build are had from. Raises OSError."""
    folder = os.path.join(staging, "held")
    os.mkdir(folder, 0o700)
    return PackageSource(uv, inputs, environ, folder, root, python, offline, log, fetches)


def sync_held(held: Versions, source: PackageSource, venv: str, flags: list[str], version: str) -> Versions:
    """Installs what is held; the same with files of all packages. ``version``: of the environment's Python. Raises UvFailed."""
    if minor(version) != held.python:
        raise HeldDiffers(f"it is held at Python {held.python}, and Python {version} was found", 1)
    known = with_files(held, source)
    if not known.pins:
        return known
    kept = [flag for flag in flags if flag in _HOW]
    folders = [pin.name for pin in known.pins if pin.folder]
    for name in folders:  # as it is now, and not as it was built last time
        kept += ["--reinstall-package", name]
    try:
        _sync(known, source, venv, kept)
    except UvFailed as failure:
        found = lacking(failure.words)
        if found is None or found.changed or found.unreachable or (moved := elsewhere(known, source)) == known:
            raise
        _sync(moved, source, venv, kept)
        known = moved
    if folders and (lacks := unmet(source.uv, venv, source.environ, source.log)):  # they ask for what nobody held
        raise HeldDiffers(lacks, 1)
    return known


def _sync(held: Versions, source: PackageSource, venv: str, flags: list[str]) -> None:
    sync_pylock(source.uv, write_pylock(held, source), venv, flags, pip_environment(source), source.log)


def pin(installed: Installed, source: PackageSource, now: float) -> Versions | None:
    """What was resolved and installed: to be held from now on (``now``: seconds since the epoch). None: it can't be. Raises OSError."""
    return pin_installed(installed.venv, minor(installed.probed.version), utc(now), source)


def digest_of(installed: Installed) -> str:
    """Digest of the versions that were installed, held or not. Raises OSError."""
    from sharedenv.pool.dist_info import versions_in  # noqa: PLC0415 - loaded while uv was at work

    python = minor(installed.probed.version)
    try:
        return versions_in(installed.venv, python, "").digest
    except (ValueError, KeyError):  # what a package says of its origin is damaged
        return Versions(python, "", tuple(Pin(package.name, package.version) for package in installed.packages)).digest


def check_held(held: Versions, installed: Installed) -> None:
    """Raises HeldDiffers unless what was installed is what is held."""
    from sharedenv.pool.dist_info import record_digest  # noqa: PLC0415 - as above

    found = list(differences(held, {package.name: package.version for package in installed.packages}))
    for name in [pin.name for pin in held.pins if pin.record and pin.record != record_digest(installed.venv, pin.name)]:
        found.append(f"{name} {held.names[name]} has other files than it had")
    if found:
        raise HeldDiffers("\n".join(found), 1, packages=tuple(found))


def held_error(
    need: Need, held: Versions | None, failure: UvFailed, words: str, script: str, *, strict: bool = False
) -> SharedenvError | None:
    """The error of a build of what is held, where it can't be had any more; None where it failed for another reason.

    ``words``: uv's, without secrets. ``script``: the first that needs it, as the user names it. ``strict``: as it was built.
    """
    found = lacking(words)
    if held is None or (found is None and not isinstance(failure, (HeldDiffers, Gone, Altered))):
        return None
    first = shlex.quote(script)
    # of packages that are named those alone are moved; a version of Python is moved with all
    gone = _names(found.names if found else failure.packages if isinstance(failure, (HeldDiffers, Gone)) else ())
    moving = [f"--upgrade-package {name}" for name in gone if name in held.names] or ["--upgrade"]
    locked = NAME in need.payload.document
    command = "lock" if locked else "build --strict-python" if strict else "build"
    hint = " ".join(["sharedenv", command, *moving, first])
    if found is None:
        cause = words
    elif found.unreachable:
        cause, hint = f"{_said(found)} can't be had now\n{found.why}", f"sharedenv build {first}"
    elif found.changed:
        cause = f"{_said(found)}: the bytes have changed under the same version"
    else:
        cause = f"{_said(found)} can't be had any more\n{found.why}"
    where = f"in {NAME}" if locked else "held"
    message = f"can't build environment {need.payload.key[:SHORT]} for {script} with the versions that are {where}"
    return SharedenvError(message, cause=cause, hint=hint, exit_code=EXIT_BUILD)


def _names(packages: Iterable[str]) -> list[str]:
    """The names of `alpha==1.0`, `alpha 1.0`, `alpha @ URL`, in normal form."""
    from sharedenv.pool.check import normal_name  # noqa: PLC0415 - where a build has failed

    return [normal_name(re.split(r"[ =@]", package, maxsplit=1)[0]) for package in packages]


def _said(found: Lacking) -> str:
    return ", ".join(name.replace("==", " ") for name in found.names)
