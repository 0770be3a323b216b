"""The only module that knows uv's commands; uv_words has what its words mean."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from typing import IO

from sharedenv.build.uv_words import lock_fault, way_round
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.process import Finished, capture, capture_to, limit_error
from sharedenv.values import frozen

#: the oldest uv whose `sync --script --active --output-format json` was seen to work
MINIMUM = (0, 8, 4)

#: implementation and variant of what a request for a version means
_USUAL = (("cpython", "default"), ("cpython", None))

#: variables beside UV_* that would send uv to another environment or interpreter than the one we name
_MISLEADING = ("CONDA_DEFAULT_ENV", "CONDA_PREFIX", "PYTHONEXECUTABLE", "PYTHONHOME", "VIRTUAL_ENV")


@frozen
class Uv:
    """A uv that may be used: where it is, its version."""

    path: str
    version: str


class UvFailed(Exception):
    """uv ended with an error: what it said, its status (1: requirements that can't be met; 2: all else).

    ``hint``: the command to run next, where the failure tells it.
    """

    def __init__(self, words: str, status: int, hint: str | None = None) -> None:
        super().__init__(words)
        self.hint = hint
        self.words = words
        self.status = status


class Unlocked(UvFailed):
    """The lock file is no match to its script, or to the options of now. ``why``: what differs, in uv's words; "" when it says nothing."""

    def __init__(self, failure: UvFailed, why: str) -> None:
        super().__init__(failure.words, failure.status, failure.hint)
        self.why = why


def find_uv(environ: Mapping[str, str]) -> Uv:
    """The uv to use: SHAREDENV_UV, else the one installed with sharedenv, else the one on PATH. Raises SharedenvError."""
    search = environ.get("PATH")
    if chosen := environ.get("SHAREDENV_UV"):
        # absolute: uv is started in other folders
        return _checked(os.path.abspath(shutil.which(chosen, path=search) or chosen), environ, chosen=True)
    path = _packaged() or shutil.which("uv", path=search)
    if path is None:
        raise SharedenvError("uv is not installed", hint="pip install uv", exit_code=EXIT_BUILD)
    return _checked(os.path.abspath(path), environ)


def find_python(uv: Uv, request: str, environ: Mapping[str, str], cwd: str, log: IO[str]) -> str:
    """Absolute path of the interpreter that a request names (a version, specifiers, a path, `default`). Raises UvFailed.

    Virtual environments don't count: an environment of the pool must not hang on somebody's venv.
    """
    return _run(uv, ["python", "find", "--system", "--no-project", "--", request], environ, cwd, log).stdout.strip()


def fetch_python(uv: Uv, request: str, environ: Mapping[str, str], cwd: str, log: IO[str]) -> None:
    """Has uv fetch a Python, from where and to where `uv run` would, if it may (python-downloads, offline). Raises UvFailed.

    `uv python install` would put a command into ~/.local/bin, too, and go by other settings: so an environment in ``cwd`` is
    made with it, which is of no further use.
    """
    _run(uv, ["venv", "--no-project", "--python", request, "--", os.path.join(cwd, "fetched")], environ, cwd, log)


def installed_pythons(uv: Uv, request: str, environ: Mapping[str, str], cwd: str, log: IO[str]) -> list[tuple[str, str]]:
    """Version and absolute path of every CPython here that meets a request, the newest first; none where uv can't say."""
    try:
        done = _run(uv, ["python", "list", "--only-installed", "--output-format", "json", "--", request], environ, cwd, log)
    except UvFailed:
        return []
    found = [item for item in json.loads(done.stdout) if (item["implementation"], item.get("variant")) in _USUAL]
    found.sort(key=lambda item: [item["version_parts"][part] for part in ("major", "minor", "patch")], reverse=True)
    return [(item["version"], os.path.join(cwd, item["path"])) for item in found]


def make_venv(uv: Uv, python: str, path: str, environ: Mapping[str, str], cwd: str, log: IO[str]) -> None:
    """Makes an empty virtual environment that may be renamed. ``python``: a path, or a request as of find_python. Raises UvFailed."""
    _run(uv, ["venv", "--relocatable", "--no-project", "--python", python, "--", path], environ, cwd, log)


def sync_script(
    uv: Uv, script: str, venv: str, flags: list[str], environ: Mapping[str, str], cwd: str, log: IO[str]
) -> None:
    """Installs into ``venv`` exactly what ``script`` needs. Raises UvFailed: Unlocked where it is its lock file that doesn't fit.

    uv must say that it wrote to ``venv``: with VIRTUAL_ENV lost on the way it would sync an environment of its own and
    call that success.
    """
    python = os.path.join(venv, "bin", "python")
    argv = ["sync", "--script", script, "--active", "--python", python, "--output-format", "json", *flags]
    try:
        done = _run(uv, argv, {**environ, "VIRTUAL_ENV": venv}, cwd, log)
    except UvFailed as failure:
        if (fault := lock_fault(failure.words)) is None or not fault.readable:
            raise
        raise Unlocked(failure, _mismatch(uv, script, environ, cwd, log)) from None
    written = json.loads(done.stdout)["sync"]["environment"]["path"]
    if os.path.realpath(written) != os.path.realpath(venv):
        raise UvFailed(f"uv wrote to {written} instead of {venv}", 2)


def _mismatch(uv: Uv, script: str, environ: Mapping[str, str], cwd: str, log: IO[str]) -> str:
    """Why uv doesn't go by the lock file of a script, which it says to who asks for all its words; "" when it doesn't."""
    try:
        _run(uv, ["lock", "--check", "--offline", "--verbose", "--script", script], environ, cwd, log)
    except UvFailed as failure:
        if found := re.search(r"existing lockfile due to ([^\n]*)", failure.words):
            return found[1].rstrip(": ")
    return ""


def is_outdated(uv: Uv, script: str, venv: str, flags: list[str], environ: Mapping[str, str], cwd: str, log: IO[str]) -> bool:
    """Whether ``sync_script`` would change ``venv``, which is only looked at. Raises UvFailed when uv can't tell."""
    try:
        sync_script(uv, script, venv, [*flags, "--check"], environ, cwd, log)
    except UvFailed as failure:
        if failure.status == 1 and "environment is outdated" in " ".join(failure.words.split()):
            return True
        raise
    return False


def compile_pylock(uv: Uv, project: str, output: str, python: str, flags: list[str], environ: Mapping[str, str], log: IO[str]) -> None:
    """Finds the files of exactly the packages that a pyproject.toml asks for, and writes them as a pylock.toml. Raises UvFailed."""
    argv = ["pip", "compile", "--no-deps", "--quiet", "--no-header", "--format", "pylock.toml", "--python", python]
    _run(uv, [*argv, "--output-file", output, *flags, "--", project], environ, os.path.dirname(output), log)


#: our name of a platform → uv's
TARGETS = {
    "linux-x86_64-gnu": "x86_64-unknown-linux-gnu",
    "linux-aarch64-gnu": "aarch64-unknown-linux-gnu",
    "linux-x86_64-musl": "x86_64-unknown-linux-musl",
    "linux-aarch64-musl": "aarch64-unknown-linux-musl",
    "darwin-arm64": "aarch64-apple-darwin",
    "darwin-x86_64": "x86_64-apple-darwin",
}


def resolve_pylock(uv: Uv, project: str, output: str, flags: list[str], environ: Mapping[str, str], log: IO[str]) -> None:
    """Chooses versions of all that a pyproject.toml needs, and writes them as a pylock.toml. Raises UvFailed.

    ``flags`` say for which Python, and for which platform where it is another (TARGETS).
    """
    argv = ["pip", "compile", "--quiet", "--no-header", "--format", "pylock.toml", "--output-file", output]
    _run(uv, [*argv, *flags, "--", project], environ, os.path.dirname(output), log)


def indexes(uv: Uv, project: str, python: str, flags: list[str], environ: Mapping[str, str], log: IO[str]) -> dict[str, str]:
    """Package → URL of the index it is from (without credentials), of those that are from one; for what `compile_pylock` asked.

    A pylock.toml of uv's doesn't say it, and without it uv doesn't find in its cache what it has of that index.
    """
    argv = ["pip", "compile", "--no-deps", "--quiet", "--no-header", "--no-annotate", "--emit-index-annotation", "--python", python]
    try:
        words = _run(uv, [*argv, *flags, "--", project], environ, os.path.dirname(project), log).stdout
    except UvFailed:
        return {}
    return dict(re.findall(r"^([a-z0-9-]+)==\S+[^\n]*\n +# from (https?://\S+)$", words, re.MULTILINE))


def sync_pylock(uv: Uv, pylock: str, venv: str, flags: list[str], environ: Mapping[str, str], log: IO[str]) -> None:
    """Installs into ``venv`` exactly what a pylock.toml names. Raises UvFailed."""
    python = os.path.join(venv, "bin", "python")
    _run(uv, ["pip", "sync", "--python", python, *flags, "--", pylock], environ, os.path.dirname(pylock), log)


def unmet(uv: Uv, venv: str, environ: Mapping[str, str], log: IO[str]) -> str:
    """What packages of an environment require and is not in it, in uv's words; "" for nothing."""
    python = os.path.join(venv, "bin", "python")
    try:
        _run(uv, ["pip", "check", "--python", python], environ, venv, log)
    except UvFailed as failure:
        return "\n".join(line for line in failure.words.splitlines() if line.startswith("The package ")) or failure.words
    return ""


def cache_folder(uv: Uv, environ: Mapping[str, str]) -> str | None:
    """Where uv keeps what it has downloaded; None when it doesn't say."""
    try:
        done = capture([uv.path, "cache", "dir"], env=environ)
    except OSError:
        return None
    return done.stdout.strip() or None if done.status == 0 else None


def ask_index(uv: Uv, environ: Mapping[str, str], cwd: str, seconds: float) -> str:
    """What uv says when it is to ask the index for pip, whatever its cache has; "" where that is all well. After so many ``seconds``
    nobody waits for it any more.
    """
    words = ["pip", "compile", "--quiet", "--no-deps", "--refresh", "--python", sys.executable, "-"]
    try:
        done = capture([uv.path, "--color", "never", "--no-progress", *words], env=environ, cwd=cwd, stdin="pip\n", timeout=seconds)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or "it did not say why" if done.status else ""


def environment_for_uv(environ: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The environment uv is started in: ``environ`` without what would mislead it, and of UV_* no more than ``variables``."""
    kept = {name: value for name, value in environ.items() if not name.startswith("UV_") and name not in _MISLEADING}
    if sys.getfilesystemencoding() != "utf-8":
        # uv takes what a Python says of its own place for UTF-8, as it is in the locale C (PEP 540), but in no 8-bit one
        kept["LC_ALL"] = "C"
    # a line that uv wraps for a terminal (COLUMNS says how wide) is not one that we can tell again
    return {**kept, "UV_NO_WRAP": "1", **variables}


def _run(uv: Uv, arguments: list[str], environ: Mapping[str, str], cwd: str, log: IO[str]) -> Finished:
    log.write(f"$ uv {' '.join(arguments)}\n")
    done = capture_to(log, [uv.path, "--color", "never", "--no-progress", *arguments], env=environ, cwd=cwd)
    if done.status != 0:
        raise UvFailed(done.stderr.strip() or f"uv ended with status {done.status}", done.status, way_round(done.stderr))
    return done


def _packaged() -> str | None:
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - another uv may be chosen
    except ImportError:
        return None
    try:
        return os.fspath(find_uv_bin())
    except FileNotFoundError:
        return None


def _checked(path: str, environ: Mapping[str, str], *, chosen: bool = False) -> Uv:
    """The uv at a path. ``chosen``: SHAREDENV_UV names it. Raises SharedenvError when it can't be used."""
    named = f"{path}, which SHAREDENV_UV names," if chosen else path

    def unfit(message: str, cause: str | None, hint: str) -> SharedenvError:
        return SharedenvError(message, cause=cause, hint="unset SHAREDENV_UV" if chosen else hint, exit_code=EXIT_BUILD)

    try:
        done = capture([path, "--version"], env=environ)
    except OSError as error:
        if told := limit_error(error, EXIT_BUILD):
            raise told from None
        raise unfit(f"can't start uv: {named.rstrip(',')}", error.strerror, "pip install --force-reinstall uv") from None
    found = re.match(r"uv (\d+)\.(\d+)\.(\d+)\S*", done.stdout)
    if done.status != 0 or found is None:
        raise unfit(f"{named} is not uv", (done.stderr or done.stdout).strip(), "pip install uv")
    if tuple(map(int, found.groups())) < MINIMUM:
        needed = f"sharedenv needs uv {'.'.join(map(str, MINIMUM))} or newer"
        raise unfit(f"{named} is too old: {found.group()}", needed, "pip install --upgrade uv")
    return Uv(path, found.group().removeprefix("uv "))
