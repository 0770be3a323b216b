"""`sharedenv verify`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import click

from sharedenv.app.build import result_of, taking_builds_along
from sharedenv.app.project import Selection, existing_pool, open_project
from sharedenv.build.options import BuildOptions
from sharedenv.care.survey import Surveyed, survey
from sharedenv.care.verify import Verified, repair, verify, verify_packed
from sharedenv.cli.building import build_options
from sharedenv.cli.options import json_option, option, paths
from sharedenv.cli.pools import built_for, names_key, select
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.pool.store import Environment
from sharedenv.report.building import BuildProgress
from sharedenv.report.console import Console
from sharedenv.report.words import count, printable, size

SHOWN = 5  #: entries named a kind, unless -v


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[KEY|SCRIPT]...", type=click.UNPROCESSED, shell_complete=paths)
@option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
@option("--repair", "mend", is_flag=True, help="Build anew what fails; what runs stays on the old.")
@build_options
@json_option
@click.pass_obj
def verify_(
    console: Console, names: tuple[str, ...], python: str | None, mend: bool, build_options: BuildOptions, as_json: bool
) -> int:
    """Hold each file against its recorded hash, and see that all else is in order. Exit 1 if anything is not.

    KEY is the beginning of a key; without KEY or SCRIPT, all environments are verified. One that no key leads to (a newer one has
    replaced it) is looked at too, and is no failure: nothing more is started in it, and prune takes it.
    """
    layout, chosen = _chosen(console.pool, names, python)
    results: list[tuple[Surveyed, Verified]] = []
    for item in chosen:
        found = verify_packed(layout, item) if item.packed else verify(layout, item.path)
        if not found.sound and not os.path.lexists(item.path):
            console.detail(f"{item.name} was removed meanwhile")
            continue
        results.append((item, found))
        if not as_json:
            _print(*results[-1], console)
    wanted = [(item, result) for item, result in results if item.current]
    bad = [item for item, result in wanted if not result.sound]
    repaired, errors = _repair(layout, bad, build_options, console) if mend else ({}, ())
    if as_json:
        values = [_value(item, result, repaired.get(item.name)) for item, result in results]
        console.document(
            {"pool": layout.path, "environments": values, "errors": [console.error_value(error) for error in errors]}
        )
    else:
        total = sum(result.bytes for _, result in results)
        files = sum(result.files for _, result in results)
        sound = f"{len(wanted) - len(bad)} of {count(len(wanted), 'environment')} sound"
        sound += f", {len(repaired)} repaired" if repaired else ""
        console.say(f"{sound} ({size(total)}, {count(files, 'file')} read)")
        console.errors(errors)
        if bad and not mend:
            console.say(f"\n{console.style('hint', 'hint:')} {_again(console, names, python)}")
    if errors:
        return EXIT_BUILD
    return EXIT_FAILED if len(bad) > len(repaired) else 0


def _chosen(pool: str | None, names: tuple[str, ...], python: str | None) -> tuple[Layout, list[Surveyed]]:
    scripts = tuple(name for name in names if not names_key(name))
    if not scripts:
        layout = existing_pool(pool)
        return layout, select(survey(layout), names, "verify")
    project = open_project(pool, Selection("verify", scripts, python=python))
    keys = [name for name in names if names_key(name)]
    chosen = [*built_for(project), *(select(survey(project.layout), keys, "verify") if keys else ())]
    return project.layout, list({item.name: item for item in chosen}.values())


def _again(console: Console, names: Sequence[str], python: str | None) -> str:
    request = ["--python", python] if python else []
    return console.in_pool(shlex.join(["sharedenv", "verify", "--repair", *request, *names]))


def _repair(
    layout: Layout, bad: Sequence[Surveyed], options: BuildOptions, console: Console
) -> tuple[dict[str, Environment], tuple[SharedenvError, ...]]:
    """The new environment of each one repaired, by the old one's name, and what could not be."""
    repaired: dict[str, Environment] = {}
    errors = []
    # in a thread, as every build: a signal that comes while a process starts would lose it where it is started
    with ThreadPoolExecutor(1) as builder, BuildProgress(console) as progress, taking_builds_along():
        for item in bad:
            try:
                environment = result_of(builder.submit(repair, layout, item, options, os.environ, progress))
            except SharedenvError as error:
                errors.append(error)
                continue
            if item.packed or environment.name != item.name:
                repaired[item.name] = environment
                console.say(f"repaired {item.name} as {environment.name}")
    return repaired, tuple(errors)


def _print(item: Surveyed, result: Verified, console: Console) -> None:
    if result.sound:
        console.detail(f"{result.name}: sound ({count(result.files, 'file')}, {size(result.bytes)})")
        return
    console.result(f"{result.name}{item.remark}: {'; '.join(_summary(result))}")
    for what, names in (("changed", result.changed), ("missing", result.missing), ("not recorded", result.unrecorded)):
        shown = names if console.verbosity > 0 else names[:SHOWN]
        for name in shown:
            console.result(f"  {what}: {printable(name)}")
        if len(shown) < len(names):
            console.result(f"  {what}: {len(names) - len(shown):,} more (-v names them)")


def _summary(result: Verified) -> list[str]:
    counts = [
        (result.changed, "changed"),
        (result.missing, "missing"),
        (result.unrecorded, "that nobody recorded"),
    ]
    return [*result.faults, *(f"{count(len(names), 'entry', 'entries')} {what}" for names, what in counts if names)]


def _value(item: Surveyed, result: Verified, environment: Environment | None) -> dict[str, object]:
    return {
        "name": item.name,
        "key": item.key,
        "path": item.path,
        "published": item.published,
        "replaced_by": item.replaced_by,
        "sound": result.sound,
        "faults": list(result.faults),
        "changed": list(result.changed),
        "missing": list(result.missing),
        "unrecorded": list(result.unrecorded),
        "bytecode_added": result.bytecode,
        "files": result.files,
        "bytes": result.bytes,
        "repaired_as": environment.name if environment is not None else None,
    }
