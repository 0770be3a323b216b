"""Which pool the scripts of a call have, and where a new one goes (DESIGN: where the pool is)."""

from __future__ import annotations

import os
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, pairwise

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.key.plan import read_file
from sharedenv.key.project_lock import NAME
from sharedenv.pool.layout import Layout, is_part
from sharedenv.start.access import refresh
from sharedenv.start.block import BlockError, find_block
from sharedenv.start.find_pool import FOLDER, MARKER, Ancestors, edge_above, made_by_init
from sharedenv.values import frozen

_NAMES = 100  #: names of a folder that are looked at for what lies beside a script


@frozen
class PoolsFound:
    """Where the pools of some scripts are.

    pools   pool → its scripts, in the order asked; None → those that have no pool yet
    strays  pools that were passed over, each with the one above that counts in its place
    """

    pools: Mapping[Layout | None, Sequence[str]]
    strays: Mapping[str, str]


def find_pools(
    option: str | None,
    environ: Mapping[str, str],
    scripts: Sequence[str],
    here: str,
    unfinished: Callable[[str], bool],
    planned: Layout | None = None,
) -> PoolsFound:
    """The pools of these scripts (absolute paths): --pool, SHAREDENV_POOL, else above each script, else above ``here``.

    ``unfinished`` says whether a pool (its path) holds a run that is not finished: it is no stray then. ``planned`` is about
    to be made, and counts as if it was there. Raises SharedenvError when what was named can't be a pool.
    """
    if named := named_pool(option, environ, here):
        return PoolsFound({named: scripts}, {})
    found = _find_above(environ, scripts, here, unfinished, planned)
    if (poolless := found.pools.get(None)) and _has_appeared(poolless[0]):
        return _find_above(environ, scripts, here, unfinished, planned)
    return found


def _has_appeared(script: str) -> bool:
    """Whether there is a pool above a script all the same: another node may have made it since it was missed here (see refresh)."""
    folder, above = script, os.path.dirname(script)
    while folder != above:
        folder, above = above, os.path.dirname(above)
        refresh(folder)
        if os.path.lexists(os.path.join(folder, FOLDER)):
            return True
    return False


def _find_above(
    environ: Mapping[str, str], scripts: Sequence[str], here: str, unfinished: Callable[[str], bool], planned: Layout | None
) -> PoolsFound:
    ancestors = Ancestors(environ, None if planned is None else planned.path)
    strays: dict[str, str] = {}
    chosen: dict[tuple[str, ...], Layout | None] = {}

    def settle(pools: tuple[str, ...]) -> Layout | None:
        if pools not in chosen:
            chosen[pools] = _without_strays(pools, strays, unfinished)
        return chosen[pools]

    otherwise = settle(ancestors.of_folder(here))
    found: dict[Layout | None, list[str]] = {}
    for path in scripts:
        found.setdefault(settle(ancestors.of_script(path)) or otherwise, []).append(path)
    return PoolsFound(found, strays)


def find_pool(option: str | None, environ: Mapping[str, str], here: str, unfinished: Callable[[str], bool]) -> Layout | None:
    """The pool of a command that names no scripts: that of a script in the folder ``here``, or None. Raises as find_pools."""
    [pool] = find_pools(option, environ, [os.path.join(here, "script.py")], here, unfinished).pools
    return pool


def named_pool(option: str | None, environ: Mapping[str, str], here: str) -> Layout | None:
    """The pool that --pool or SHAREDENV_POOL names; None when neither does. Raises SharedenvError."""
    chosen = option or environ.get("SHAREDENV_POOL")
    return Layout(_named(os.path.normpath(os.path.join(here, chosen)))) if chosen else None


def _without_strays(pools: tuple[str, ...], strays: dict[str, str], unfinished: Callable[[str], bool]) -> Layout | None:
    # the nearest counts, but not one that only stands in the way: `exec` in a case's folder has made it, say
    for nearest, above in pairwise(pools):
        if made_by_init(nearest) or unfinished(nearest):
            return Layout(nearest)
        strays[nearest] = above
    return Layout(pools[-1]) if pools else None


def strays_below(root: str, environ: Mapping[str, str], unfinished: Callable[[str], bool], looks: int) -> list[str]:
    """Pools below a project's root that its scripts pass over, among the first ``looks`` folders, breadth first."""
    ancestors = Ancestors(environ)
    strays: dict[str, str] = {}
    pending = deque([root])
    while pending and looks > 0:
        for path in islice(_folders(pending.popleft()), looks):
            looks -= 1
            if os.path.lexists(os.path.join(path, FOLDER)):
                _without_strays(ancestors.of_folder(path), strays, unfinished)
            pending.append(path)
    return sorted(strays)


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def several_pools(found: PoolsFound) -> SharedenvError:
    """The error of one call over scripts that have several pools."""
    scripts = sum(map(len, found.pools.values()))
    lines = []
    for layout, paths in found.pools.items():
        more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
        lines.append(f"{layout.path if layout else 'none yet'}: {paths[0]}{more}")
    most = max((layout for layout in found.pools if layout), key=lambda layout: len(found.pools[layout]))
    return SharedenvError(
        f"these {scripts:,} scripts belong to {len(found.pools)} pools",
        cause="\n".join(lines),
        hint=f"sharedenv --pool {shlex.quote(most.path)} …, or name the scripts of one pool at a time",
        exit_code=EXIT_USAGE,
    )


def _named(path: str) -> str:
    """The pool that a path stands for: the pool itself, the `.sharedenv` in a project's folder, or where a new one goes.

    No pool is made among other people's files. Raises SharedenvError.
    """
    inside = os.path.join(path, FOLDER)
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return path
    except OSError as error:
        raise SharedenvError(
            f"{path} can't be a pool", cause=error.strerror, hint=f"ls -ld {shlex.quote(path)}", exit_code=EXIT_USAGE
        ) from None
    if MARKER in names or os.path.basename(path) == FOLDER:
        return path
    if os.path.isdir(inside):
        return inside
    # what holds nothing but a pool's own folders is one that is being made, or was purged
    if all(map(is_part, names)):
        return path
    raise SharedenvError(
        f"{path} is a folder with other files in it, and no pool",
        cause=f"a pool of its own would go into {inside}",
        hint=f"sharedenv --pool {shlex.quote(inside)} build 'case*/script.py'",
        exit_code=EXIT_USAGE,
    )


def place_pool(scripts: Sequence[str], cwd: str) -> Layout:
    """Where `build`, `run` and `submit` make a pool: in the current folder, when every script lies below it. Raises SharedenvError.

    Where a sharedenv.lock lies above it in the same project, beside that: or nobody would look at it.
    """
    outside = [path for path in scripts if os.path.commonpath([path, cwd]) != cwd]
    if outside:
        raise SharedenvError(
            "no pool found, and none can be made here",
            cause=f"{outside[0]} does not lie below the current folder {cwd}",
            hint=_build_above(scripts),
            exit_code=EXIT_USAGE,
        )
    edge = _edge(cwd)
    locked = edge is not None and edge not in _crowded(os.environ) and os.path.lexists(os.path.join(edge, NAME))
    return Layout(os.path.join(edge if edge is not None and locked else cwd, FOLDER))


def _edge(folder: str) -> str | None:
    """The nearest folder, this one included, that holds what a project's own folder holds, or a sharedenv.lock; None for none."""
    edge, at = edge_above(folder), folder
    while at not in (edge, os.path.dirname(at)) and not os.path.lexists(os.path.join(at, NAME)):
        at = os.path.dirname(at)
    return at if os.path.lexists(os.path.join(at, NAME)) else edge


def _crowded(environ: Mapping[str, str]) -> set[str]:
    """Folders whose pools are not found from below."""
    return {"/", "/tmp", os.path.normpath(environ.get("HOME") or "/")}


def place_for_one(script: str, here: str, environ: Mapping[str, str]) -> Layout:
    """Where `exec` and `activate` make the pool of a script (absolute path) that has none. Raises SharedenvError.

    At the edge of its project, else in the current folder where that lies above the script's, else in the script's own; in
    none that looks like the folder of a case, with another copy beside it: each case would get a pool of its own.
    """
    folder = os.path.dirname(script)
    crowded = _crowded(environ) - {folder}
    if (edge := _edge(folder)) is not None and edge not in crowded:
        return Layout(os.path.join(edge, FOLDER))
    if here != folder and os.path.commonpath([here, folder]) == here:
        return Layout(os.path.join(here, FOLDER))
    block = _block(script)
    at, within = folder, os.path.basename(script)
    for _ in range(2 if block is not None else 0):
        above, own = os.path.split(at)
        if above in crowded:
            break
        if twin := _twin(above, own, within, block):
            raise SharedenvError(
                f"no pool found for {os.path.relpath(script, here)}, and none is made in the folder of a case",
                cause=f"{twin} lies beside it: each would get a pool and an environment of its own",
                hint=f"sharedenv init {shlex.quote(os.path.relpath(above, here))}",
                exit_code=EXIT_USAGE,
            )
        at, within = above, os.path.join(own, within)
    return Layout(os.path.join(folder, FOLDER))


def _twin(folder: str, own: str, within: str, block: bytes | None) -> str | None:
    """A script ``<folder>/<another name than own>/<within>`` with the same metadata, among the first names of the folder; or None."""
    try:
        with os.scandir(folder) as entries:
            names: Iterable[str] = sorted(entry.name for entry in islice(entries, _NAMES))
    except OSError:
        return None
    return next((path for name in names if name != own and _block(path := os.path.join(folder, name, within)) == block), None)


def _block(script: str) -> bytes | None:
    try:
        found = find_block(read_file(script))
    except (OSError, BlockError):
        return None
    return None if found is None else found.content


def _build_above(scripts: Sequence[str]) -> str:
    """The command that builds for these scripts, with a pool in the nearest folder above all of them."""
    common = os.path.commonpath([os.path.dirname(path) for path in scripts])
    names = {os.path.basename(path) for path in scripts}
    pattern = os.path.join(common, "**", names.pop() if len(names) == 1 else "*.py")
    return shlex.join(["sharedenv", "--pool", os.path.join(common, FOLDER), "build", *(scripts if len(scripts) == 1 else [pattern])])
