"""`sharedenv list`."""

from __future__ import annotations

import os
import time
from collections import Counter

import click

from sharedenv.app.project import existing_pool
from sharedenv.care.survey import Surveyed, survey
from sharedenv.cli.options import json_option
from sharedenv.pool.bounds import read_bounds
from sharedenv.pool.holders import processes
from sharedenv.pool.layout import Layout
from sharedenv.pool.location import strays_below
from sharedenv.pool.manifest import Interpreter
from sharedenv.pool.store import Unusable, examine
from sharedenv.report.bounds import bounds_value, bounds_words
from sharedenv.report.console import Console
from sharedenv.report.table import table
from sharedenv.report.words import ago, count, short_path, size
from sharedenv.run.journal.runs import holds_unfinished
from sharedenv.start.access import SHORT

PACKED = "it is packed, and the next build unpacks it"
_LOOKS = 2000  #: folders below the project's that are looked at for pools that stand in the way


@click.command("list")
@json_option
@click.pass_obj
def list_(console: Console, as_json: bool) -> int:
    """List the environments of the pool: key, Python, packages, size, last use, the script it was first built for."""
    layout = existing_pool(console.pool, trust=False)
    found, bounds = survey(layout), read_bounds(layout)
    strays = strays_below(layout.root, os.environ, holds_unfinished, _LOOKS)
    if as_json:
        values = [environment_value(layout, item) for item in found]
        console.document({"pool": layout.path, "bounds": bounds_value(bounds), "environments": values, "strays": strays, "errors": []})
        return 0
    if not found:
        console.say(f"no environments in {layout.path}")
        return 0
    several = {key for key, number in Counter(item.key for item in found).items() if number > 1}
    rows = [_row(layout, item, item.name if item.key in several else item.name[:SHORT]) for item in found]
    for line in table(("KEY", "PYTHON", "PACKAGES", "SIZE", "FILES", "LAST USE", "FIRST BUILT FOR"), rows, right=(2, 3, 4)):
        console.result(line)
    packed = sum(item.packed for item in found)
    total = f"{size(sum(item.bytes for item in found))}{f'; {packed:,} packed' if packed else ''}"
    console.say(f"{count(len(found), 'environment')} in {layout.path} ({total})")
    if told := bounds_words(bounds):
        console.say(told)
    if strays:
        more = f" and {len(strays) - 1:,} more" if len(strays) > 1 else ""
        console.warn(f"passed over by the scripts below it: the pool {short_path(strays[0], layout.root)}{more} (see sharedenv doctor)")
    return 0


def fault(layout: Layout, item: Surveyed) -> str | None:
    """Why an environment must not be run, or None."""
    if item.packed:
        return PACKED if item.manifest is not None else item.doubt or "its archive is damaged"
    examined = examine(layout, item.path)
    return examined.reason if isinstance(examined, Unusable) else None


def environment_value(layout: Layout, item: Surveyed) -> dict[str, object]:
    """An environment as it stands in a JSON document; ``reason``: why it is not usable."""
    reason = fault(layout, item)
    value: dict[str, object] = {
        "path": item.path,
        "name": item.name,
        "key": item.key,
        "usable": reason is None,
        "reason": reason,
        "published": item.published,
        "replaced_by": item.replaced_by,
        "last_use": item.last_use,
        "in_use": [] if item.packed else processes(item.path),
        "packed": item.packed,
        "packed_bytes": item.bytes if item.packed else None,
    }
    if (manifest := item.manifest) is not None:
        value |= {
            "python": None if item.packed else os.path.join(item.path, "bin", "python"),
            "python_version": manifest.interpreter.version,
            "implementation": manifest.interpreter.implementation,
            "base_python": manifest.interpreter.path,
            "packages": {package.name: package.version for package in manifest.packages},
            "bytes": manifest.bytes,
            "files": manifest.files,
            "built": manifest.built,
            "seconds": manifest.seconds,
            "uv": manifest.uv,
            "host": manifest.host,
            "user": manifest.user,
            "libc": manifest.libc,
            "glibc_needed": manifest.glibc,
            "scripts": list(manifest.scripts),
            "scripts_count": max(manifest.scripts_count, len(manifest.scripts)),
        }
    return value


def _python(interpreter: Interpreter) -> str:
    kind = interpreter.implementation
    return interpreter.version if kind == "cpython" else f"{kind} {interpreter.version}"


def _row(layout: Layout, item: Surveyed, name: str) -> tuple[str, ...]:
    manifest, reason = item.manifest, fault(layout, item)
    used = "-" if item.last_use is None else ago(time.time() - item.last_use)
    if not item.packed and processes(item.path):
        used = "in use"
    if manifest is None or (reason is not None and not item.packed):
        return name, "-", "-", "-", "-", used, f"unusable: {reason}"
    return (
        name,
        _python(manifest.interpreter),
        f"{len(manifest.packages):,}",
        size(item.bytes),
        "1" if item.packed else f"{manifest.files:,}",
        used,
        (manifest.scripts[0] if manifest.scripts else "") + item.remark,
    )
