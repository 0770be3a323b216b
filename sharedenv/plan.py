"""Scripts grouped by key, every bad script reported at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.key import Payload, make_payload
from sharedenv.script import ScriptError, parse_script
from sharedenv.settings import Settings


@dataclass(frozen=True, slots=True)
class Need:
    """One environment that scripts need: its payload, the bytes of the lock file it is built from, and who needs it."""

    payload: Payload
    lock: bytes | None
    scripts: tuple[str, ...]  # absolute paths, in the order asked


@dataclass(frozen=True, slots=True)
class Plan:
    """``scripts``: each absolute path with its key, in the order asked; ``needs``: the environments by key, first needed first."""

    scripts: tuple[tuple[str, str], ...]
    needs: Mapping[str, Need]


def make_plan(paths: Iterable[str], settings: Settings) -> Plan:
    """Reads every script and groups them by key. Raises SharedenvError that names every bad one."""
    scripts: list[tuple[str, str]] = []
    payloads: dict[str, tuple[Payload, bytes | None, list[str]]] = {}
    problems: list[str] = []
    for path in paths:
        try:
            payload, lock = _read(path, settings)
        except ScriptError as error:
            problems.append(f"{path}: {error.message}")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
        else:
            scripts.append((path, payload.key))
            payloads.setdefault(payload.key, (payload, lock, []))[2].append(path)
    if problems:
        raise SharedenvError("bad scripts", cause="\n".join(problems), exit_code=EXIT_USAGE)
    needs = {key: Need(payload, lock, tuple(users)) for key, (payload, lock, users) in payloads.items()}
    return Plan(tuple(scripts), needs)


def _read(path: str, settings: Settings) -> tuple[Payload, bytes | None]:
    with open(path, "rb") as file:
        metadata = parse_script(file.read())
    try:
        with open(path + ".lock", "rb") as file:
            lock: bytes | None = file.read()
    except FileNotFoundError:
        lock = None
    return make_payload(metadata, os.path.dirname(path), lock, settings), lock
