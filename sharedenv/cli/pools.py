"""What the commands on a whole pool share: environments named by KEY."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence

from sharedenv.app.project import Project
from sharedenv.care.survey import Surveyed, survey
from sharedenv.errors import EXIT_FAILED, EXIT_USAGE, SharedenvError
from sharedenv.pool.store import published
from sharedenv.report.words import printable, short_path
from sharedenv.start.access import SHORT
from sharedenv.start.environ import current_folder

_KEY = re.compile(r"[0-9a-f]{1,64}|[0-9a-f]{12}-[1-9][0-9]*")


def is_key(text: str) -> bool:
    """Whether an argument can name an environment: the beginning of a key, or `<key12>-<n>`."""
    return _KEY.fullmatch(text) is not None


def names_key(argument: str) -> bool:
    """Whether KEY is meant, where KEY|SCRIPT may be given: a file of that name is a script."""
    return (is_key(argument) or argument.isalnum()) and not os.path.exists(argument)


def built_for(project: Project) -> list[Surveyed]:
    """The environments of a project's scripts, each once. Raises BadScripts, and SharedenvError for one that is not built."""
    everything = survey(project.layout)
    found = {item.path: item for item in everything}
    packed = {item.key: item for item in everything if item.packed}
    chosen = []
    for key, need in project.any_plan(project.paths).needs.items():
        item = found.get(published(project.layout, key) or "") or packed.get(key)
        if item is None:
            script = short_path(need.scripts[0], current_folder(os.environ))
            hint = shlex.join(["sharedenv", "build", *project.options, script])
            raise SharedenvError(f"the environment of {printable(script)} is not built", hint=hint, exit_code=EXIT_FAILED)
        chosen.append(item)
    return chosen


def select(found: Iterable[Surveyed], arguments: Sequence[str], command: str) -> list[Surveyed]:
    """The environments that KEY arguments name, each once; all of them for none. A key stands for all its generations.

    Raises SharedenvError for an argument that names none, or several keys; its hint is for ``command``.
    """
    everything = list(found)
    if not arguments:
        return everything
    chosen: dict[str, Surveyed] = {}
    for argument in arguments:
        matches = [item for item in everything if _names(argument, item)] if is_key(argument) else []
        keys = {item.key or item.name[:SHORT] for item in matches}
        if len(keys) != 1:
            raise _unclear(argument, sorted(keys), command)
        chosen.update((item.name, item) for item in matches)
    return list(chosen.values())


def current(found: Sequence[Surveyed]) -> Surveyed:
    """Of the generations of one key, the one that scripts are run in, else the newest."""
    return next((item for item in found if item.current), found[-1])


def _names(argument: str, item: Surveyed) -> bool:
    return item.name == argument or (item.key or item.name[:SHORT]).startswith(argument)


def _unclear(argument: str, keys: list[str], command: str) -> SharedenvError:
    if not keys:
        return SharedenvError(
            f"no environment's key begins with {argument!r}", hint="sharedenv list", exit_code=EXIT_USAGE
        )
    return SharedenvError(
        f"{argument} is the beginning of {len(keys)} keys",
        cause="\n".join(keys),
        hint=f"sharedenv {command} {keys[0][:SHORT]}",
        exit_code=EXIT_USAGE,
    )
