"""A lock file that uv won't go by: why, in words for the user, and the command that ends it and keeps what is pinned."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from sharedenv.build.uv_words import lock_fault
from sharedenv.key.plan import Need
from sharedenv.key.settings import Settings, variable_of
from sharedenv.key.uv_inputs import unsaid_options
from sharedenv.start.fingerprint import lock_owner

#: what uv says has changed → the option
_CHANGED = {
    "resolution mode": "resolution",
    "package-specific pre-release": "prerelease-package",
    "pre-release mode": "prerelease",
    "fork strategy": "fork-strategy",
    "exclude newer": "exclude-newer",
    "static metadata": "dependency-metadata",
}
#: options that `uv lock` takes as flags of these names
_FLAGS = ("resolution", "prerelease", "fork-strategy", "exclude-newer", "exclude-newer-package")


def locked_script(script: str) -> str:
    """The path that the lock file of a script (absolute path) lies beside: its own, or that of the file it leads to."""
    return lock_owner(script) if os.path.islink(script) else script


def lock_error(words: str, why: str, need: Need, settings: Settings, cwd: str) -> tuple[str, str] | None:
    """Cause and hint where uv has something against the lock file; None when its ``words`` tell another reason.

    ``why``: what differs, of an Unlocked.
    """
    fault = lock_fault(words)
    if fault is None:
        return None
    path = locked_script(need.scripts[0])
    script = os.path.relpath(path, cwd) if path.startswith(cwd + os.sep) else path
    lock, old = shlex.quote(f"{script}.lock"), shlex.quote(f"{script}.lock.old")
    again = shlex.join(_lock_again(path, script, need, settings, cwd))
    if not fault.readable:  # uv reads the one that is there first, and fails on it again
        return f"its lock file {script}.lock {fault.reason}", f"mv {lock} {old} && {again}"
    option = _option(why)
    if option is None:
        return f"its lock file {script}.lock {fault.reason}{f': {why}' if why else ''}", again
    made = f"its lock file {script}.lock was made under another {option}: {why}"
    variable = variable_of(option)
    if variable in need.payload.document["settings"]:
        return f"{made}\n{variable} is set; without it what is locked is installed", f"unset {variable}"
    where = f"[tool.uv] of {script}" if option in need.payload.document["tool.uv"] else f"the configuration of {settings.root}"
    ways = f"{option} stands in {where}; without it what is locked is installed, and `uv lock` chooses versions anew under it"
    return f"{made}\n{ways}", f"cp {lock} {old} && {again}"


def _option(why: str) -> str | None:
    """The option that uv says has changed."""
    option = next((option for words, option in _CHANGED.items() if words in why), None)
    return "exclude-newer-package" if option == "exclude-newer" and "for package" in why else option


def _lock_again(path: str, script: str, need: Need, settings: Settings, cwd: str) -> Iterable[str]:
    """The command that locks a script under the options that count here: those that nobody gives any more go along as flags."""
    document = need.payload.document
    if cwd != settings.root and document["settings"].keys() & set(_CHANGED.values()):
        # uv reads the configuration that is nearest to the folder it is started in
        yield from ("uv", "lock", "--directory", settings.root, "--script", os.path.relpath(path, settings.root))
    else:
        yield from ("uv", "lock", "--script", script)
    yield from _as_flags(unsaid_options(document, need.payload.aside.lock or b""))


def _as_flags(options: Mapping[str, Any]) -> Iterable[str]:
    for name in _FLAGS:
        value = options.get(name, ())
        items = [f"{package}={at}" for package, at in value.items() if at] if isinstance(value, dict) else [value] if value else []
        for item in items:
            yield from (f"--{name}", str(item))
