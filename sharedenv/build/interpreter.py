"""The Python that an environment is built with: one that is here, else one that uv fetches where it may."""

from __future__ import annotations

import os
import re
import shlex
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import IO, Any, TypeVar, cast

from sharedenv.build.pyenv import without_shims
from sharedenv.build.uv import Uv, UvFailed, fetch_python, find_python, installed_pythons, make_venv
from sharedenv.build.uv_words import cannot_read_config, found_none, other_uv
from sharedenv.key.make import admits
from sharedenv.key.requires_python import in_order, narrowness
from sharedenv.key.settings import Settings
from sharedenv.key.uv_inputs import python_request
from sharedenv.pool.store import remove_tree
from sharedenv.start.regular import read_regular
from sharedenv.start.uv_variables import is_on
from sharedenv.values import frozen

#: variables of which a job of Slurm, PBS, LSF, SGE or Flux has one: on its node there may be no network, and many may start at once
JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "SGE_TASK_ID", "FLUX_JOB_ID")


_Found = TypeVar("_Found")


class Fetches:
    """What one command finds and fetches: each request once. A fetch that failed, which may take ten seconds, is not tried again
    for the next script.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[str, UvFailed | None] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._found: dict[Hashable, Any] = {}
        self.cut_off = False  #: whether a build of this command has found no way to a host: others don't try for long

    def find(self, asked: Hashable, find: Callable[[], _Found]) -> _Found:
        """What ``find`` has found for the same before, else what it finds now. Raises its UvFailed."""
        with self._locks.setdefault(asked, threading.Lock()):  # who asks for something else doesn't wait: this may be a fetch
            if asked not in self._found:
                self._found[asked] = find()
            return cast(_Found, self._found[asked])

    def once(self, request: str, fetch: Callable[[], None]) -> None:
        """Calls ``fetch`` unless it was called for this request before. Raises its UvFailed, the earlier one too."""
        with self._lock:
            if request not in self._done:
                try:
                    fetch()
                    self._done[request] = None
                except UvFailed as failure:
                    self._done[request] = failure
            if failed := self._done[request]:
                raise failed


@frozen
class Search:
    """A look for one Python.

    requires  requires-python, canonical, "" for any; ``loose``: the same as it may be read, where that is another
    request   the explicit one, which comes first
    environ   what uv is started in; ``cwd``: where, a folder for what is thrown away afterwards
    step      told what is being done; ``note``: what the user should know
    """

    requires: str
    loose: str | None
    request: str | None
    settings: Settings
    uv: Uv
    environ: Mapping[str, str]
    cwd: str
    log: IO[str]
    fetches: Fetches
    step: Callable[[str], None]
    note: Callable[[str], None]
    job: str | None = None  # the variable that says so, in a job in which nothing is fetched
    venv: str | None = None  # where an environment is to be made with it


def find_interpreter(search: Search) -> str:
    """Absolute path of the Python to build with; a command looks for each but once. Raises UvFailed.

    Who is the first to look for it finds its environment made.
    """
    search.step("finding Python")
    return search.fetches.find(_asked(search), lambda: _find_or_fetch(search))


def _asked(search: Search) -> Hashable:
    """All that decides which one it is; each build has a TMPDIR and a uv.toml of its own."""
    own = ("TMPDIR", "UV_CONFIG_FILE")
    around = frozenset((name, value) for name, value in search.environ.items() if name not in own)
    return search.requires, search.loose, search.request, around, read_regular(search.environ["UV_CONFIG_FILE"])


def _find_or_fetch(search: Search) -> str:
    search = _around(search)
    wanted = python_request(search.requires, search.request)
    try:
        return _find(search, wanted)
    except UvFailed as failure:
        if failure.hint or other_uv(failure.words):
            raise
        if cannot_read_config(failure.words):  # what we made of the project's settings: it never came to Pythons
            raise UvFailed(f"in the project's uv.toml, or [tool.uv] of its pyproject.toml:\n{failure.words}", failure.status) from None
        # whatever uv stumbled over on its way (a broken shim of pyenv counts as an error): there is none to be used
        told = failure
    if search.loose and not search.request:
        if newest := _newest(search, search.loose):
            return newest
        wanted = search.loose  # uv fetches the newest, too
    try:
        return _fetch(search, wanted)
    except UvFailed as failure:
        told = failure
    raise _none_here(search, told.words)


def _around(search: Search) -> Search:
    """The same with what uv is started in: without shims, and without downloads in a job for which nobody says anything of them."""
    environ = without_shims(search.environ, search.settings.root)
    said = environ.get("UV_PYTHON_DOWNLOADS") or search.settings.inert.get("python-downloads")
    job = next((name for name in JOB if environ.get(name)), None)
    if said or not job:
        return replace(search, environ=environ)
    return replace(search, environ={**environ, "UV_PYTHON_DOWNLOADS": "never"}, job=job)


def _find(search: Search, request: str) -> str:
    """The Python that is here for a request: as that with which uv makes an environment where one is wanted, else asked of uv."""
    if search.venv is not None:
        environ = {**search.environ, "UV_PYTHON_DOWNLOADS": "never"}  # as in a look, which fetches nothing
        try:
            make_venv(search.uv, request, search.venv, environ, search.cwd, search.log)
            return os.readlink(os.path.join(search.venv, "bin", "python"))
        except (UvFailed, OSError):  # a look tells why
            remove_tree(search.venv)
    return find_python(search.uv, request, search.environ, search.cwd, search.log)


def _newest(search: Search, requires: str) -> str | None:
    """The newest CPython here that meets a requires-python."""
    found = installed_pythons(search.uv, requires, search.environ, search.cwd, search.log)
    return next((path for version, path in found if admits(requires, version)), None)


def _fetch(search: Search, request: str) -> str:
    """What uv fetches for a request, as `uv run` would; says where it lies. Raises UvFailed where it may not, or can't."""
    search.step("fetching Python")
    search.fetches.once(request, lambda: fetch_python(search.uv, request, search.environ, search.cwd, search.log))
    path = _find(search, request)
    search.note(f"no Python here met {_wish(search)}: uv has fetched {path}")
    return path


def _wish(search: Search) -> str:
    return search.request or f"requires-python {in_order(search.requires)}"


def _none_here(search: Search, words: str) -> UvFailed:
    request, requires = search.request, search.requires
    head = f"no Python here meets {_wish(search)}"
    if request:
        head = f"no Python here is {request} (from --python, SHAREDENV_PYTHON, UV_PYTHON or .python-version)"
    in_job = f"none is fetched in a job ({search.job} is set) unless python-downloads is automatic" if search.job else None
    lines = [head, None if request else narrowness(requires), in_job, words]
    return UvFailed("\n".join(filter(None, lines)), 1, _way_to_python(search, fetched=not found_none(words)))


def _way_to_python(search: Search, *, fetched: bool) -> str:
    settings = search.settings
    if search.request and settings.pinned and ("/" in search.request or not re.search(r"\d", search.request)):  # no version
        return shlex.join(["rm", os.path.join(settings.root, ".python-version")])
    command = way_to_python(search.request or "", search.loose or search.requires)
    if command == LIST:
        return command
    if (settings.variables.get("UV_PYTHON_DOWNLOADS") or settings.inert.get("python-downloads")) == "never":
        command = f"UV_PYTHON_DOWNLOADS=manual {command}"
    if is_on(settings.variables.get("UV_OFFLINE", "")):
        command = f"UV_OFFLINE=0 {command}"
    return f"{command}  # where there is a network" if fetched else command


LIST = "uv python list"


def way_to_python(request: str, requires: str) -> str:
    """The command that gets a Python for a request, or for requires-python; where it names no version, the list of all."""
    found = re.fullmatch(r"(\d+\.\d+(?:\.\d+)?)", request) or re.search(r"(?:>=|~=|==)\s*(\d+\.\d+)", requires)
    if found is None:
        return LIST
    if request or admits(requires, f"{found[1]}.99"):  # the newest of that minor version is what uv installs
        return f"uv python install {found[1]}"
    return f"uv python install {found[1]}.0" if admits(requires, f"{found[1]}.0") else LIST
