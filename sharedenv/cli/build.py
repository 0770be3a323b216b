"""`sharedenv build`."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from sharedenv.app.build import look_closely, remember_built
from sharedenv.app.project import Project, Selection, open_project
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import Jobs
from sharedenv.cli.building import build_and_tell, build_options
from sharedenv.cli.options import contrary, json_option, option
from sharedenv.cli.scripts import plan_of, script_options, skip_bad_option, skip_plain_option, tell_bad
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED
from sharedenv.key.plan import Plan
from sharedenv.pool.missing import PACKED, build_command, is_packed
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
        from sharedenv.cli.upgrading import build_upgraded, refuse_locked  # noqa: PLC0415 - most builds move nothing

        refuse_locked(plan)
    if shared_group:
        from sharedenv.app.journal import make_pool  # noqa: PLC0415 - few share a pool, and none twice

        # what was built before is links into its builder's cache, which the group may be unable to read
        rebuild |= not is_shared(project.layout.path)
        make_pool(project.layout, console, shared=True)
    options = replace(build_options, rebuild=rebuild, drift=True)
    if upgrade or upgrade_packages:
        ready, errors = build_upgraded(project, plan, options, upgrade_packages, jobs, console)
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
