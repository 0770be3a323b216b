"""What counts from outside the script: the Python request, the project's configuration, UV_* variables, the platform."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tomli

from sharedenv import uv_variables
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.requirement import RequirementError, merge, normal_name, parse_requirement
from sharedenv.secret import keep_aside
from sharedenv.tool_uv import COUNTED, INERT, OptionError, Place, is_url, normal_options

#: options of a project that uv does not apply to its scripts: they are about the project itself
_NOT_FOR_SCRIPTS = frozenset(
    ["build-constraint-dependencies", "constraint-dependencies", "exclude-dependencies", "override-dependencies", "sources"]
)

@dataclass(frozen=True, slots=True)
class Settings:
    """Everything outside a script that can change what is installed. ``root`` is the project's root, the pool's parent."""

    root: str
    python: str | None = None  # the explicit request, as `uv python find` takes it
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # the UV_* that uv gets: all of them, credentials too
    platform: str = ""
    counted: Mapping[str, Any] = field(default_factory=dict)  # what of it is in the payload, by name: no credentials
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the uv.toml that uv gets: absolute paths, credentials too
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)  # URL without credentials → with them
    secrets: tuple[str, ...] = field(default=(), repr=False)  # other secrets that pass through
    notes: Mapping[str, Any] = field(default_factory=dict)  # what the manifest says of the user's own configuration


def gather_settings(root: str, environ: Mapping[str, str], python: str | None = None) -> Settings:
    """Settings of a project: ``python`` is the --python option, the first of the requests that counts. Raises SharedenvError."""
    request = python or environ.get("SHAREDENV_PYTHON") or environ.get("UV_PYTHON") or _pinned(root)
    here = Place(os.getcwd(), root)
    given = {name: value for name, value in environ.items() if name.startswith("UV_") and value}
    passed = {name: value for name, value in given.items() if uv_variables.role(name) == "passed"}
    counted: dict[str, Any] = {}
    variables = dict(passed)
    for name, value in given.items():
        if uv_variables.role(name) == "counted":
            meaning, for_uv = _variable(name, value, here)
            if meaning is not None:
                counted[name] = meaning
            if for_uv:
                variables[name] = for_uv
    config, meant, urls = _project(root, environ)
    user, notes = {}, {}
    secrets = tuple(value for name, value in passed.items() if uv_variables.is_secret(name))
    return Settings(
        root,
        request or None,
        variables,
        platform_tag(),
        counted={**meant, **counted},
        config={**user, **config},
        urls={**urls, **here.urls},
        secrets=secrets,
        notes=notes,
    )


def _variable(name: str, value: str, here: Place) -> tuple[Any, str]:
    """What a counted variable means (None for nothing) and what uv is given of it ("" for nothing)."""
    try:
        if name in uv_variables.FLAGS:
            return (True, "1") if uv_variables.is_on(value) else (None, "")
        if name in uv_variables.NAMES:
            return sorted({normal_name(word) for word in value.split()}), value
        if name in uv_variables.LOCATIONS:
            return _locations(value, uv_variables.LOCATIONS[name], here)
        if name in uv_variables.FILES:
            # uv reads these for `uv pip` alone: they reach it as options of the canonical script
            return _listed(name, value, here), ""
    except RequirementError as error:
        raise SharedenvError(f"reading {name}", cause=str(error), hint=f"unset {name}") from None
    return value, value


def _locations(value: str, separator: str | None, here: Place) -> tuple[Any, str]:
    words = [word.strip() for word in value.split(separator)] if separator else [value.strip()]
    meant, absolute = [], []
    for word in filter(None, words):
        name, equals, location = word.partition("=") if _is_named(word) else ("", "", word)
        place = keep_aside(location, here.urls) if is_url(location) else here.canonical(location)
        meant.append(name + equals + place)
        absolute.append(name + equals + (location if is_url(location) else os.path.normpath(os.path.join(here.folder, location))))
    return (meant if separator else meant[0]), (separator or " ").join(absolute)


def _is_named(word: str) -> bool:
    # `name=location`, as --index takes it; a URL may hold a = of its own
    name = word.partition("=")[0]
    return "=" in word and "/" not in name and ":" not in name


def _listed(variable: str, value: str, here: Place) -> list[str]:
    lines: list[str] = []
    for path in value.split():
        _read_list(variable, os.path.join(here.folder, path), lines)
    if variable == "UV_EXCLUDE":
        return sorted({normal_name(line) for line in lines})
    return merge(parse_requirement(line).without_credentials(here.urls) for line in lines)


def _read_list(variable: str, path: str, lines: list[str]) -> None:
    """The requirements in a file of pip's format: comments and continued lines, no options."""
    text = _read(path)
    if text is None:
        raise SharedenvError(f"reading {variable}", cause=f"{path}: no such file", hint=f"unset {variable}")
    for line in text.replace("\\\n", " ").splitlines():
        requirement = line.partition(" #")[0].strip()
        if requirement.startswith("-") or " --" in requirement:
            raise SharedenvError(
                f"reading {variable}",
                cause=f"{path}: {requirement.split()[0]}: a list of constraints holds requirements alone, no options",
                hint=f"unset {variable}",
            )
        if requirement and not requirement.startswith("#"):
            lines.append(requirement)


def _project(root: str, environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """The project's configuration: as uv gets it, as it counts, and its URLs with credentials."""
    path, table = _config_table(root, environ)
    place = Place(os.path.dirname(path), root)
    options = {name: value for name, value in table.items() if name in COUNTED and name not in _NOT_FOR_SCRIPTS}
    try:
        counted = normal_options(options, place)
    except OptionError as error:
        raise SharedenvError(f"reading {path}", cause=f"{error.option}: {error.message}", exit_code=EXIT_USAGE) from None
    inert = {name: value for name, value in table.items() if name in INERT}
    return {**inert, **counted}, counted, place.urls


def _config_table(root: str, environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The file that uv would take the project's settings from, and its options: uv.toml beats pyproject.toml."""
    if uv_variables.is_on(environ.get("UV_NO_CONFIG", "")):
        return root, {}
    if chosen := environ.get("UV_CONFIG_FILE"):
        path = os.path.abspath(chosen)
        return path, _toml(path, missing=False)
    path = os.path.join(root, "uv.toml")
    if os.path.exists(path):
        return path, _toml(path)
    path = os.path.join(root, "pyproject.toml")
    tool = _toml(path).get("tool", {})
    table = tool.get("uv", {}) if isinstance(tool, dict) else {}
    return path, table if isinstance(table, dict) else {}


def _toml(path: str, *, missing: bool = True) -> dict[str, Any]:
    text = _read(path)
    if text is None and missing:
        return {}
    if text is None:
        raise SharedenvError("reading UV_CONFIG_FILE", cause=f"{path}: no such file", hint="unset UV_CONFIG_FILE")
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise SharedenvError(f"reading {path}", cause=str(error), exit_code=EXIT_USAGE) from None


def _read(path: str) -> str | None:
    """The text of a file, or None when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SharedenvError(f"reading {path}", cause=str(error), exit_code=EXIT_USAGE) from None


def platform_tag() -> str:
    """System, machine and libc family, such as ``linux-x86_64-gnu``; ``darwin-arm64`` where there is one libc alone."""
    name = os.uname()
    system, machine = name.sysname.lower(), name.machine
    if system != "linux":
        return f"{system}-{machine}"
    return f"{system}-{machine}-{_libc()}"


def _libc() -> str:
    # asks the C library this process runs on: no process started, no file read; musl knows no such name
    try:
        return "gnu" if (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc") else "musl"
    except (ValueError, OSError):
        return "musl"


def _pinned(root: str) -> str | None:
    text = _read(os.path.join(root, ".python-version")) or ""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return next(filter(None, lines), None)
