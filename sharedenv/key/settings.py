"""What counts from outside the script: the Python request, the project's configuration, UV_* variables, the platform.

What uv does for a script, and where it is left: UV_CONSTRAINT, UV_OVERRIDE, UV_BUILD_CONSTRAINT and UV_EXCLUDE are read
by uv for `uv pip` alone; here they hold for scripts too (a site that sets them means them), unless they are locked.
The lists of the same names in a project's configuration are about the project itself: uv does not apply them to
scripts, and neither is it done here. Relative paths in variables start at the current folder, in files at the file's.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.config import read_config, read_text, read_user_config
from sharedenv.key.project_lock import NAME, LockError, ProjectLock, parse_project_lock
from sharedenv.key.readers import Base, is_url, plain
from sharedenv.key.requirement import RequirementError, merge, normal_name, parse_requirement
from sharedenv.secret import keep_aside, secrets_in
from sharedenv.start import uv_variables
from sharedenv.start.environ import platform_tag
from sharedenv.values import frozen

#: variables of any program whose URLs may hold credentials
_PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy")


@frozen
class Settings:
    """All outside a script that can change what is installed. ``root``: the project's root, the pool's parent."""

    root: str
    python: str | None = None  # the explicit request, as `uv python find` takes it
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # UV_* that pass through and don't count
    platform: str = ""
    counted: Mapping[str, Any] = field(default_factory=dict)  # the payload's "settings": UV_* and options, by name
    inert: Mapping[str, Any] = field(default_factory=dict, repr=False)  # options of uv.toml that pass through
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)  # URL without credentials → with them
    secrets: tuple[str, ...] = field(default=(), repr=False)  # other secrets that pass through
    notes: Mapping[str, Any] = field(default_factory=dict)  # for manifests: the user's configuration that is used
    left_out: tuple[str, ...] = ()  # what of the user's and the site's configuration doesn't count, a line for each file
    lock: ProjectLock | None = None  # the project's sharedenv.lock, where there is one and it counts
    pinned: bool = False  # the request stands in .python-version: it yields to a requires-python that leaves no room for it


def gather_settings(root: str, environ: Mapping[str, str], python: str | None = None, *, no_lock: bool = False) -> Settings:
    """Settings of a project: ``python`` is the --python option, ``no_lock``: --no-lock. Raises SharedenvError."""
    given = {name: value for name, value in environ.items() if name.startswith("UV_") and value}
    passed = {name: value for name, value in given.items() if uv_variables.role(name) == "passed"}
    passed |= {name: os.path.abspath(passed[name]) for name in uv_variables.FOLDERS & passed.keys() if not is_url(passed[name])}
    here = Base(os.getcwd(), root)
    counted = _counted(given, here)
    project = read_config(root, environ)
    user = read_user_config(environ, mirror=not names_default_index({**project.counted, **counted}))
    secrets = {value for name, value in passed.items() if uv_variables.is_secret(name)}
    secrets |= secrets_in([*passed.values(), *(environ.get(name) for name in _PROXIES)]) | secrets_in(dict(user.inert))
    request, pinned = _python_request(root, environ, python)
    return Settings(
        root,
        request,
        passed,
        platform_tag(),
        counted={**project.counted, **counted},
        inert={**user.inert, **project.inert},
        urls={**user.urls, **project.urls, **here.urls},
        secrets=tuple(sorted(secrets | secrets_in(dict(project.inert)))),
        notes=user.notes,
        left_out=_left_out(user.left_out, {**project.counted, **counted}, root),
        lock=None if no_lock else read_project_lock(root),
        pinned=pinned,
    )


def read_project_lock(root: str) -> ProjectLock | None:
    """The sharedenv.lock of a project, or None. Raises SharedenvError (exit status 3)."""
    place = os.path.join(root, NAME)
    text = read_text(place)
    if text is None:
        if os.path.islink(place):  # to go on without it would take other versions without a word
            hint = shlex.join(["ls", "-l", place])
            raise SharedenvError(f"can't read {place}", cause=f"it is a link to {os.readlink(place)}, which is not there", hint=hint)
        return None
    try:
        return parse_project_lock(text)
    except LockError as error:
        path = shlex.quote(os.path.relpath(place))
        hint = "pip install --upgrade sharedenv" if error.newer else f"git diff -- {path}" if error.merging else f"git checkout -- {path}"
        raise SharedenvError(f"can't use {path}", cause=str(error), hint=hint, exit_code=EXIT_BUILD) from None


def _left_out(options: Iterable[tuple[str, str]], counted: Mapping[str, Any], root: str) -> tuple[str, ...]:
    """A line for each file that would have a say under `uv run`; options that the project decides are nobody's loss."""
    names: dict[str, list[str]] = {}
    for path, name in options:
        if name not in counted and variable_of(name) not in counted:
            names.setdefault(path, []).append(name)
    where = os.path.join(root, "uv.toml")
    return tuple(
        f"{path}: left out, since a pool is shared: {', '.join(found)}; what this project needs of it belongs in {where}"
        for path, found in names.items()
    )


def variable_of(option: str) -> str:
    """The variable that says what an option says."""
    return f"UV_{option.upper().replace('-', '_')}"


def _python_request(root: str, environ: Mapping[str, str], python: str | None) -> tuple[str | None, bool]:
    """The request, and whether it is that of .python-version."""
    request = python or environ.get("SHAREDENV_PYTHON") or environ.get("UV_PYTHON")
    folder, pinned = os.getcwd(), not request
    if pinned and not uv_variables.is_on(environ.get("UV_NO_CONFIG", "")):
        text = read_text(os.path.join(root, ".python-version")) or ""
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        request, folder = next(filter(None, lines), None), root
    if request and not _is_text(request):
        raise SharedenvError(f"can't use the Python {request!a}", cause="its name is not UTF-8, which uv wants")
    if request and ("/" in request or request.startswith(".") or (not pinned and names_place(request, folder))):  # .venv is a path, too
        # uv is started in another folder than the user stands in
        request = os.path.normpath(os.path.join(folder, request))
    return request, pinned


#: what uv takes as a version or an implementation, whatever lies in the current folder
_PYTHON = re.compile(r"(?i)any|default|(python|cpython|cp|pypy|pp|graalpy|gp|pyodide)?(@?[\d<>=!~^].*)?")


def names_place(request: str, folder: str) -> bool:
    """Whether a request for a Python without a slash is a folder or a file there, as uv has it: `--python venv`."""
    return _PYTHON.fullmatch(request) is None and os.path.exists(os.path.join(folder, request))


def _is_text(value: str) -> bool:
    # os.environ and argv hold bytes that are no UTF-8 as lone surrogates
    return not any("\ud800" <= char <= "\udfff" for char in value)


def names_default_index(counted: Mapping[str, Any]) -> bool:
    """Whether these options or variables, in normal form, say which index is the default one."""
    if any(name in counted for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "index-url", "no-index")):
        return True
    return any(index.get("default") for index in counted.get("index", ()))


def _counted(given: Mapping[str, str], here: Base) -> dict[str, Any]:
    counted = {}
    for name, value in given.items():
        if uv_variables.role(name) == "counted":
            if not _is_text(value):
                raise SharedenvError(f"can't read {name}", cause="its value is not UTF-8", hint=f"unset {name}")
            try:
                meaning = _meaning(name, value, here)
            except RequirementError as error:
                raise SharedenvError(f"can't read {name}", cause=str(error), hint=f"unset {name}") from None
            if meaning not in (None, False, []):
                counted[name] = meaning
    return counted


def _meaning(name: str, value: str, here: Base) -> Any:
    if name in uv_variables.FLAGS:
        return uv_variables.is_on(value)
    if name in uv_variables.NAMES:
        return sorted({normal_name(word) for word in value.split()})
    if name in uv_variables.LOCATIONS:
        separator = uv_variables.LOCATIONS[name]
        words = [word.strip() for word in value.split(separator)] if separator else [value.strip()]
        return [_location(word, here) for word in words if word]
    if name in uv_variables.FILES:
        return _listed(name, value, here)
    return plain(value, here)


def _location(word: str, here: Base) -> str:
    name, equals, location = word.partition("=") if is_named(word) else ("", "", word)
    return name + equals + (keep_aside(location, here.urls) if is_url(location) else here.canonical(location))


def is_named(word: str) -> bool:
    """Whether it is ``name=location``, as --index takes it; a URL may hold a = of its own."""
    name = word.partition("=")[0]
    return "=" in word and "/" not in name and ":" not in name


def _listed(variable: str, value: str, here: Base) -> list[str]:
    lines: list[str] = []
    for path in value.split():
        _read_list(variable, os.path.join(here.folder, path), lines)
    if variable == "UV_EXCLUDE":
        return sorted({normal_name(line) for line in lines})
    return merge(parse_requirement(line).without_credentials(here.urls) for line in lines)


def _read_list(variable: str, path: str, lines: list[str]) -> None:
    """The requirements in a file of pip's format: comments and continued lines, no options."""
    text = read_text(path)
    if text is None:
        raise SharedenvError(f"can't read {variable}", cause=f"{path}: no such file", hint=f"unset {variable}")
    for line in text.replace("\\\n", " ").splitlines():
        requirement = line.partition(" #")[0].strip()
        if requirement.startswith("-") or " --" in requirement:
            raise SharedenvError(
                f"can't read {variable}",
                cause=f"{path}: {requirement.split()[0]}: a list of constraints holds requirements alone, no options",
                hint=f"unset {variable}",
            )
        if requirement and not requirement.startswith("#"):
            lines.append(requirement)
