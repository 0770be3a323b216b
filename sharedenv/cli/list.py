"""`sharedenv list`."""

from __future__ import annotations

import os
import time

import click

from sharedenv.cli.options import option
from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout, find_pool
from sharedenv.pool.store import SHORT, Environment, Unusable, check_format, environments, last_use, published
from sharedenv.report.console import Console
from sharedenv.report.table import table
from sharedenv.report.words import ago, count, size


def existing_pool(context: click.Context) -> Layout:
    """The pool that a command without scripts works on. Raises SharedenvError when there is none."""
    here = os.getcwd()
    layout = find_pool(context.obj.pool, os.environ, (), here)
    if layout is None or not os.path.exists(layout.marker):
        where = layout.path if layout else f"{here} or above it"
        raise SharedenvError(f"no pool at {where}", hint="sharedenv build 'case*/script.py'")
    check_format(layout)
    return layout


@click.command("list")
@option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def list_(context: click.Context, as_json: bool) -> int:
    """List the environments of the pool: key, Python, packages, size, last use, the script it was first built for."""
    console: Console = context.obj.console
    layout = existing_pool(context)
    found = list(environments(layout))
    if as_json:
        console.document({"pool": layout.path, "environments": [_value(layout, item) for item in found]})
        return 0
    if not found:
        console.say(f"no environments in {layout.path}")
        return 0
    rows = [_row(layout, item) for item in found]
    for line in table(("KEY", "PYTHON", "PACKAGES", "SIZE", "FILES", "LAST USE", "FIRST BUILT FOR"), rows, right=(2, 3, 4)):
        console.result(line)
    usable = [item for item in found if isinstance(item, Environment)]
    total = sum(item.manifest.bytes for item in usable)
    console.say(f"{count(len(found), 'environment')} in {layout.path} ({size(total)})")
    return 0


def _row(layout: Layout, item: Environment | Unusable) -> tuple[str, ...]:
    if isinstance(item, Unusable):
        return os.path.basename(item.path)[:SHORT], "-", "-", "-", "-", "-", f"unusable: {item.reason}"
    manifest = item.manifest
    used = ago(time.time() - last_use(layout, item))
    current = "" if published(layout, item.key) == item.path else " (replaced)"
    return (
        item.key[:SHORT],
        manifest.interpreter.version,
        f"{len(manifest.packages):,}",
        size(manifest.bytes),
        f"{manifest.files:,}",
        used,
        (manifest.scripts[0] if manifest.scripts else "") + current,
    )


def _value(layout: Layout, item: Environment | Unusable) -> dict[str, object]:
    if isinstance(item, Unusable):
        return {"path": item.path, "usable": False, "reason": item.reason}
    manifest = item.manifest
    return {
        "path": item.path,
        "usable": True,
        "key": item.key,
        "name": item.name,
        "published": published(layout, item.key) == item.path,
        "python": item.python,
        "python_version": manifest.interpreter.version,
        "packages": {package.name: package.version for package in manifest.packages},
        "bytes": manifest.bytes,
        "files": manifest.files,
        "built": manifest.built,
        "last_use": last_use(layout, item),
        "scripts": list(manifest.scripts),
    }
