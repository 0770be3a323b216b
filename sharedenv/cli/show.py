"""`sharedenv show`."""

from __future__ import annotations

import os
import time

import click

from sharedenv.app.project import Selection, existing_pool, open_project
from sharedenv.build.exact import not_held
from sharedenv.care.survey import Surveyed, linked_bytes, survey
from sharedenv.cli.list import environment_value, fault
from sharedenv.cli.options import contrary, json_option, option, paths
from sharedenv.cli.pools import built_for, current, names_key, select
from sharedenv.cli.show_run import show_run
from sharedenv.errors import SharedenvError
from sharedenv.key.project_lock import NAME
from sharedenv.pool.held import fits, folder_packages, linked_packages, read_held
from sharedenv.pool.holders import processes
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import Manifest
from sharedenv.report.console import Console
from sharedenv.report.table import table
from sharedenv.report.words import ago, count, duration, short_path, size
from sharedenv.start.access import SHORT
from sharedenv.start.distrust import user_name
from sharedenv.start.environ import current_folder


@contrary("run_id", "python", why="a run has its environments")
@click.command()
@click.argument("name", metavar="KEY|SCRIPT", required=False, type=click.UNPROCESSED, shell_complete=paths)
@option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
@option("--run", "run_id", metavar="RUN", help="The versions that a run was computed with, and which cases with which.")
@option("--no-lock", is_flag=True, help="Pass by the project's sharedenv.lock.")
@json_option
@click.pass_obj
def show(console: Console, name: str | None, python: str | None, run_id: str | None, no_lock: bool, as_json: bool) -> int:
    """Show one environment: what is in it, who built it from what, who uses it.

    KEY is the beginning of a key, as long as no other key begins so.
    """
    if (name is None) == (run_id is None):
        raise click.UsageError("KEY or SCRIPT names an environment, --run a run" if name else "name KEY or SCRIPT, or --run RUN")
    if name is None:
        return show_run(console, str(run_id), as_json)
    layout, item = _find(console.pool, name, python, no_lock)
    if as_json:
        value = {**environment_value(layout, item), "linked_bytes": 0 if item.packed else linked_bytes(item)}
        console.document({"pool": layout.path, "environment": value, "errors": []})
        return 0
    lines = [("key", item.key or "unknown"), ("path", short_path(item.path, current_folder(os.environ))), *_state(layout, item)]
    if item.manifest is not None:
        lines += [*_facts(layout, item, item.manifest), *_held(layout, item, item.manifest)]
    for line in table(("", ""), [(f"{word}:", text) for word, text in lines]):
        if line:
            console.result(line)
    if item.manifest is not None:
        console.result("packages:")
        for line in table(("", ""), [(f"  {package.name}", package.version) for package in item.manifest.packages]):
            if line:
                console.result(line)
    return 0


def _find(pool: str | None, name: str, python: str | None, no_lock: bool) -> tuple[Layout, Surveyed]:
    if names_key(name):
        layout = existing_pool(pool, trust=False)
        return layout, current(select(survey(layout), [name], "show"))
    project = open_project(pool, Selection("show", (name,), python=python, no_lock=no_lock))
    found = built_for(project)
    if len(found) != 1:
        raise SharedenvError(f"{name} stands for scripts with {len(found)} environments", hint="sharedenv list")
    return project.layout, found[0]


def _state(layout: Layout, item: Surveyed) -> list[tuple[str, str]]:
    lines = []
    if item.packed and item.manifest is not None:
        smaller = f"{size(item.bytes)}, of {size(item.manifest.bytes)} in {count(item.manifest.files, 'file')}"
        lines.append(("packed", f"{smaller}; the next build unpacks it"))
    elif reason := fault(layout, item):
        lines.append(("unusable", reason))
    if item.replaced_by:
        lines.append(("replaced by", item.replaced_by))
    elif not item.current:
        lines.append(("published", "no key leads to it"))
    if item.last_use is not None:
        lines.append(("last use", ago(time.time() - item.last_use)))
    if not item.packed and (pids := processes(item.path)):
        lines.append(("in use by", ", ".join(map(_process, pids))))
    return lines


def _process(pid: int) -> str:
    # whose it is, and as what it was started: what a colleague needs to know before they ask
    try:
        owner = user_name(os.stat(f"/proc/{pid}").st_uid)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").split(b"\0")
    except OSError:
        return f"process {pid}"
    name = next((os.fsdecode(word) for word in words[1:] if not word.startswith(b"-")), "")
    return f"process {pid} of {owner}{f' ({os.path.basename(name)})' if name else ''}"


def _facts(layout: Layout, item: Surveyed, manifest: Manifest) -> list[tuple[str, str]]:
    built = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(manifest.built))
    holds = f"{size(manifest.bytes)}, {count(manifest.files, 'file')}, {count(manifest.directories, 'folder')}"
    linked = 0 if item.packed else linked_bytes(item)
    shares = [("shares", f"{size(linked)} by links, with uv's cache or others; removed, it frees {size(manifest.bytes - linked)}")]
    requires = f"glibc {manifest.glibc} or newer" if manifest.glibc else "no particular libc"
    return [
        ("python", f"{manifest.interpreter.implementation} {manifest.interpreter.version}, {manifest.interpreter.path}"),
        ("holds", holds),
        *(shares if linked else ()),
        ("built", f"{built} in {duration(manifest.seconds)}, by {manifest.user} on {manifest.host} with uv {manifest.uv}"),
        ("runs on", f"{manifest.payload.document['platform']}, {requires}"),
        ("built for", _users(manifest)),
        ("logs", short_path(os.path.join(layout.logs, f"{manifest.payload.key[:12]}.log"), current_folder(os.environ))),
    ]


def _held(layout: Layout, item: Surveyed, manifest: Manifest) -> list[tuple[str, str]]:
    """What is held of an environment, and what is not."""
    local = "" if item.packed else ", ".join(folder_packages(item.path))
    never = f"Python's patch level, system libraries{f', the local folder of {local}' if local else ''}"
    return [("versions", _versions(layout, item, manifest)), ("never held", never)]


def _versions(layout: Layout, item: Surveyed, manifest: Manifest) -> str:
    if why := not_held(manifest.payload):
        return why
    held = read_held(layout, manifest.payload.key)
    if held is None and item.packed:
        return "not held yet; the next build of it holds them"
    if held is None and (linked := linked_packages(item.path)):
        return f"not held: {', '.join(linked)} may be edited in place"
    if held is None:
        return "not held yet; the next build of it holds them"
    if not fits(held, manifest):
        return f"others are held since {held.since} ({held.digest[:SHORT]})"
    loose = sum(not pin.is_known for pin in held.pins)
    without = f", {count(loose, 'package')} by name and version alone" if loose else ""
    how = f"those of {NAME}" if NAME in manifest.payload.document else f"held since {held.since}"
    return f"{how} ({held.digest[:SHORT]}){without}"


def _users(manifest: Manifest) -> str:
    more = manifest.scripts_count - len(manifest.scripts)
    return ", ".join(manifest.scripts) + (f" and {more:,} more" if more > 0 else "") or "unknown"
