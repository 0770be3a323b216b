"""`sharedenv build`."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace

import click

from sharedenv.app.build import look_closely, remember_built
from sharedenv.app.journal import make_pool
from sharedenv.app.project import Project, Selection, open_project
from sharedenv.app.upgrade import movement_lines, movements, split, versions_of
from sharedenv.build.locked import locked_script
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import Jobs
from sharedenv.cli.building import build_and_tell, build_options
from sharedenv.cli.options import contrary, json_option, option
from sharedenv.cli.scripts import plan_of, script_options, skip_bad_option, skip_plain_option, tell_bad
from sharedenv.cli.unfinished import left_behind
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, EXIT_USAGE, SharedenvError
from sharedenv.key.plan import Plan
from sharedenv.key.project_lock import NAME
from sharedenv.pool.check import normal_name
from sharedenv.pool.missing import NAMED, PACKED, build_command, is_packed
from sharedenv.pool.store import Environment, Unusable
from sharedenv.report.building import BuildProgress
from sharedenv.report.console import Console
from sharedenv.report.words import count, printable, short_path, size
from sharedenv.start.access import SHORT
from sharedenv.start.environ import current_folder
from sharedenv.start.trust import is_shared


@contrary("check", "rebuild", why="--check changes nothing and --rebuild does")
@contrary("check", "upgrade", why="--check changes nothing and --upgrade does")
@contrary("check", "upgrade_packages", why="--check changes nothing and --upgrade-package does")
@contrary("upgrade", "upgrade_packages", why="--upgrade moves every package")
@contrary("check", "shared_group", why="--check changes nothing and --shared-group does")
@click.command()
@script_options
@skip_bad_option
@skip_plain_option(environments=[])
@option("--jobs", "-j", type=Jobs(), default=2, show_default=True, help="Builds side by side.")
@option("--rebuild", is_flag=True, help="Build anew what is there, with the versions it has; what runs stays on the old.")
@option("--upgrade", is_flag=True, help="Move to the newest versions that the requirements admit.")
@option(
    "--upgrade-package", "upgrade_packages", multiple=True, metavar="NAME",
    help="As --upgrade, of this package alone; repeatable.",
)  # fmt: skip
@option("--shared-group", is_flag=True, help="Share the pool with its folder's group, from now on.")
@option("--check", is_flag=True, help="Build nothing: exit 1 if anything is missing.")
@json_option
@build_options
@click.pass_obj
def build(
    console: Console,
    selection: Selection,
    jobs: int,
    rebuild: bool,
    upgrade: bool,
    upgrade_packages: tuple[str, ...],
    shared_group: bool,
    check: bool,
    as_json: bool,
    build_options: BuildOptions,
) -> int:
    """Build every environment that these scripts need, once each.

    SCRIPT is a file or a quoted pattern: 'case*/script.py', '**/script.py'.
    """
    project = open_project(console.pool, selection)
    plan = plan_of(project, console, full=not check)  # it mends an index that was damaged
    if check:
        return _check(project, plan, console, as_json, build_options)
    if upgrade or upgrade_packages:
        _refuse_locked(plan)
    if shared_group:
        # what was built before is links into its builder's cache, which the group may be unable to read
        rebuild |= not is_shared(project.layout.path)
        make_pool(project.layout, console, shared=True)
    options = replace(build_options, rebuild=rebuild, drift=True)
    if upgrade or upgrade_packages:
        ready, errors = _upgrade(project, plan, options, upgrade_packages, jobs, console)
    else:
        ready, errors = build_and_tell(project, plan, options, jobs, console)
    remember_built(project, plan, ready)
    if as_json:
        console.document(
            {
                "environments": [_value(plan, environment) for environment in ready.values()],
                "errors": [console.error_value(error) for error in errors],
            }
        )
    elif not errors:
        total = sum(environment.manifest.bytes for environment in ready.values())
        number = count(len(ready), "environment")
        console.say(f"{number} for {count(len(plan.scripts), 'script')} ready in {project.layout.path} ({size(total)})")
    bad = tell_bad(plan, console)
    return max([EXIT_BUILD, *(error.exit_code for error in errors)]) if errors else bad


def _upgrade(
    project: Project, plan: Plan, options: BuildOptions, packages: tuple[str, ...], jobs: int, console: Console
) -> tuple[Mapping[str, Environment], list[SharedenvError]]:
    """As build_and_tell, on versions that are chosen anew; tells what has moved."""
    names = tuple(_name(project, package) for package in packages)
    before = versions_of(project.layout, plan.needs.values())
    concerned, others = split(plan, names, before, current_folder(os.environ)) if names else (plan, replace(plan, needs={}))
    moving = replace(options, rebuild=True, upgrade=True, upgrade_packages=names)
    ready, errors = build_and_tell(project, concerned, moving, jobs, console)
    after = versions_of(project.layout, [need for key, need in concerned.needs.items() if key in ready])
    told = dict(movements(before, after))
    for key, lines in told.items():
        console.say(movement_lines(key, lines))
    for text in left_behind(project.layout, {key: before[key].digest for key, lines in told.items() if lines}, console):
        console.warn(text)
    if others.needs:
        more, more_errors = build_and_tell(project, others, options, jobs, console)
        return {**ready, **more}, [*errors, *more_errors]
    return ready, errors


def _name(project: Project, package: str) -> str:
    if bare := re.fullmatch(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*", package):
        return normal_name(bare[1])
    name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", package)
    first = short_path(project.paths[0], current_folder(os.environ))
    raise SharedenvError(
        f"--upgrade-package takes the name of a package, not {printable(package)!r}",
        cause="it moves that package to the newest version that the script admits; another one is pinned in the script's dependencies:"
        f' "{name[0] if name else "numpy"}==1.0"',
        hint=shlex.join(["sharedenv", "build", "--upgrade-package", normal_name(name[0]), first]) if name else "sharedenv build --help",
        exit_code=EXIT_USAGE,
    )


def _refuse_locked(plan: Plan) -> None:
    if held := [need for need in plan.needs.values() if NAME in need.payload.document]:
        some = [short_path(need.scripts[0], current_folder(os.environ)) for need in held[:NAMED]]
        raise SharedenvError(
            f"--upgrade can't give newer versions to {count(sum(len(need.scripts) for need in held), 'script')}: {NAME} pins them",
            hint=shlex.join(["sharedenv", "lock", "--upgrade", *some]),
            exit_code=EXIT_USAGE,
        )
    locked = [script for need in plan.needs.values() if need.payload.document["lock"] is not None for script in need.scripts]
    if locked:
        first = short_path(locked_script(locked[0]), current_folder(os.environ))
        raise SharedenvError(
            f"--upgrade can't give newer versions to {count(len(locked), 'script')}: a lock file pins them",
            cause=printable(f"{first}.lock"),
            hint=f"uv lock --upgrade --script {shlex.quote(first)}",
            exit_code=EXIT_USAGE,
        )


def _check(project: Project, plan: Plan, console: Console, as_json: bool, options: BuildOptions) -> int:
    with BuildProgress(console) as progress:
        found = look_closely(project, plan, options, progress)
    missing = [key for key, environment in found.items() if not isinstance(environment, Environment)]
    if as_json:
        ready = [environment for environment in found.values() if isinstance(environment, Environment)]
        console.document(
            {"environments": [_value(plan, environment) for environment in ready], "missing": missing, "errors": []}
        )
        return EXIT_FAILED if missing else 0
    here = current_folder(os.environ)
    for key in missing:
        scripts = plan.needs[key].scripts
        environment = found[key]
        absent = PACKED if environment is None and is_packed(project.layout, plan.needs[key].payload) else "not built"
        why = environment.reason if isinstance(environment, Unusable) else absent
        more = f" and {len(scripts) - 1:,} more" if len(scripts) > 1 else ""
        console.say(f"missing: environment {key[:SHORT]} for {printable(short_path(scripts[0], here))}{more}: {why}")
    console.say(f"{len(found) - len(missing)} of {count(len(found), 'environment')} ready")
    if missing:
        console.hint(build_command(plan.needs, missing, project.options))
    return EXIT_FAILED if missing else 0


def _value(plan: Plan, environment: Environment) -> dict[str, object]:
    return {
        "key": environment.key,
        "name": environment.name,
        "path": environment.path,
        "python": environment.python,
        "bytes": environment.manifest.bytes,
        "files": environment.manifest.files,
        "scripts": len(plan.needs[environment.key].scripts),
    }
