"""`sharedenv lock`."""

from __future__ import annotations

import os
import shlex

import click

from sharedenv.app.lock import PLATFORMS, Locked, LockOrder, LockOutcome, lock, missing
from sharedenv.app.project import Selection, open_project, tell_strays
from sharedenv.cli.options import contrary, json_option, option, paths
from sharedenv.cli.scripts import PLAIN, without_plain
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED
from sharedenv.pool.check import normal_name
from sharedenv.pool.missing import NAMED
from sharedenv.report.console import Console
from sharedenv.report.words import count, printable, short_path
from sharedenv.start.environ import current_folder

_CAME = {"kept": "as it was", "pool": "as the pool holds it", "resolved": "chosen now"}


@contrary("check", "upgrade", why="--check changes nothing and --upgrade does")
@contrary("check", "packages", why="--check changes nothing and --upgrade-package does")
@contrary("upgrade", "packages", why="--upgrade moves every package")
@click.command("lock")
@click.argument("scripts", nargs=-1, metavar="[SCRIPT]...", type=click.UNPROCESSED, shell_complete=paths)
@option("--from-file", metavar="LIST", yields=("scripts",), help="Read the scripts from LIST, one a line ('-': standard input).")
@option("-0", "--null", is_flag=True, needs=("from_file",), help="In LIST, names end with NUL instead of a newline.")
@option(
    "--python", "pythons", multiple=True, metavar="REQUEST",
    help="Lock for this Python; repeatable. [default: the one that a build takes]",
)  # fmt: skip
@option(
    "--platform", "platforms", multiple=True, type=click.Choice(PLATFORMS), metavar="NAME",
    help="Repeatable: linux-{x86_64,aarch64}-{gnu,musl}, darwin-{arm64,x86_64}. [default: this one]",
)  # fmt: skip
@PLAIN
@option("--upgrade", is_flag=True, help="Move to the newest versions that the requirements admit.")
@option("--upgrade-package", "packages", multiple=True, metavar="NAME", help="As --upgrade, of this package alone; repeatable.")
@option("--check", is_flag=True, help="Write nothing: exit 1 if sharedenv.lock does not cover a script.")
@option("--offline", is_flag=True, help="Use uv's cache only.")
@json_option
@click.pass_obj
def lock_(
    console: Console,
    scripts: tuple[str, ...],
    from_file: str | None,
    null: bool,
    pythons: tuple[str, ...],
    platforms: tuple[str, ...],
    skip_plain: bool,
    upgrade: bool,
    packages: tuple[str, ...],
    check: bool,
    offline: bool,
    as_json: bool,
) -> int:
    """Lock the versions of what these scripts need: one sharedenv.lock for all copies, at the project's root.

    What the pool holds is taken over, so that a lock at the end of a sweep moves nothing. Once the file is there, it decides.
    """
    selection = Selection("lock", scripts, from_file, null)
    some = without_plain(selection, console) if skip_plain else selection
    if some is None:
        if as_json:
            console.document({"missing": [], "errors": []} if check else {"changed": False, "locked": [], "errors": []})
        return 0
    project = open_project(console.pool, some)
    tell_strays(project, console)
    order = LockOrder(pythons, platforms, upgrade, tuple(map(normal_name, packages)), offline)
    if check:
        return _check(project.layout.root, missing(project, order), order, console, as_json)
    outcome = lock(project, order, os.environ, console.detail)
    if as_json:
        console.document(_document(outcome, console))
    else:
        _tell(outcome, console)
    return EXIT_BUILD if outcome.errors else 0


def _check(root: str, found: list[tuple[tuple[str, ...], str]], order: LockOrder, console: Console, as_json: bool) -> int:
    here = current_folder(os.environ)
    if as_json:
        items = [{"scripts": list(scripts), "reason": reason} for scripts, reason in found]
        console.document({"path": os.path.join(root, "sharedenv.lock"), "missing": items, "errors": []})
    else:
        for scripts, reason in found:
            console.say(f"{_named(scripts, here)}: {reason}")
        if found:
            options = [*(f"--python={python}" for python in order.pythons), *(f"--platform={platform}" for platform in order.platforms)]
            some = dict.fromkeys(os.path.relpath(scripts[0], here) for scripts, _ in found)
            console.hint(shlex.join(["sharedenv", "lock", *options, *list(some)[:NAMED]]))
        else:
            console.say("sharedenv.lock covers all of them")
    return EXIT_FAILED if found else 0


def _tell(outcome: LockOutcome, console: Console) -> None:
    here = current_folder(os.environ)
    for one in outcome.locked:
        console.say(f"{_named(one.scripts, here)}: {_line(one)}")
        for text in one.moved:
            console.say(f"  {text}")
    if outcome.own:
        lock = printable(f"{short_path(outcome.own[0], here)}.lock")
        console.say(f"{count(len(outcome.own), 'script')} passed over: a lock file of its own comes first ({lock})")
    console.errors(outcome.errors)
    if outcome.locked:
        console.say(f"{'wrote' if outcome.changed else 'nothing to change in'} {short_path(outcome.path, here)}")


def _line(one: Locked) -> str:
    if one.versions is None:
        return f"not locked: {one.entry.loose}"
    number = count(len(one.versions.pins), "package")
    return f"{number} for Python {one.versions.python} on {one.platform}, {_CAME[one.source]}"


def _named(scripts: tuple[str, ...], here: str) -> str:
    more = f" and {len(scripts) - 1:,} more" if len(scripts) > 1 else ""
    return f"{printable(short_path(scripts[0], here))}{more}"


def _document(outcome: LockOutcome, console: Console) -> dict[str, object]:
    items = [
        {
            "scripts": list(one.scripts),
            "platform": one.platform,
            "python": one.versions.python if one.versions else None,
            "packages": one.versions.names if one.versions else {},
            "source": one.source,
            "not_locked": one.entry.loose or None,
            "moved": list(one.moved),
        }
        for one in outcome.locked
    ]
    errors = [console.error_value(error) for error in outcome.errors]
    return {"path": outcome.path, "changed": outcome.changed, "locked": items, "passed_over": list(outcome.own), "errors": errors}
