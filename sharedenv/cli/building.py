"""Options of every command that may build, and how it tells of its builds."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from sharedenv.app.build import NotBuilt, build_plan
from sharedenv.app.project import Project
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import duration
from sharedenv.cli.options import Function, option
from sharedenv.errors import SharedenvError
from sharedenv.key.plan import Plan
from sharedenv.pool.store import Environment
from sharedenv.report.building import BuildProgress, summary
from sharedenv.report.console import Console
from sharedenv.start.access import SHORT
from sharedenv.values import frozen


def build_options(function: Function) -> Function:
    """Adds --no-compile, --offline, --strict-python and --lock-timeout; the command receives them as ``build_options``."""

    @option("--no-compile", is_flag=True, help="Don't compile bytecode: builds are faster, first imports are slower.")
    @option("--offline", is_flag=True, help="Use uv's cache only.")
    @option("--strict-python", is_flag=True, help="Take ==3.12 or <=3.12 in requires-python as 3.12.0, to the letter.")
    @option("--lock-timeout", type=duration, metavar="TIME", help="Wait this long for another process's build: 90, 10m, 2h.")
    @functools.wraps(function)
    def with_options(
        *args: Any, no_compile: bool, offline: bool, strict_python: bool, lock_timeout: float | None, **options: Any
    ) -> Any:
        chosen = BuildOptions(compile=not no_compile, offline=offline, strict=strict_python, lock_timeout=lock_timeout)
        return function(*args, build_options=chosen, **options)

    return with_options


@frozen
class Building:
    """Builds for a use case (app/build.py: Builds), and tells of it here."""

    console: Console

    def attempt(self, project: Project, plan: Plan, options: BuildOptions) -> None:
        """Builds what is missing; what fails is told by who tries it again."""
        with BuildProgress(self.console) as progress:
            build_plan(project, plan, options, 2, progress)

    def finish(self, project: Project, plan: Plan, options: BuildOptions) -> None:
        """The same, and tells what was built and which builds failed. Raises NotBuilt."""
        if errors := build_and_tell(project, plan, options, 2, self.console)[1]:
            raise NotBuilt(errors)


def build_and_tell(
    project: Project, plan: Plan, options: BuildOptions, jobs: int, console: Console
) -> tuple[Mapping[str, Environment], list[SharedenvError]]:
    """Builds what is missing, waits for all of it and tells what was built and which builds failed. The environments that are
    ready, by key, and the errors of the others.
    """
    with BuildProgress(console) as progress:
        outcome = build_plan(project, plan, options, jobs, progress)
    errors = [_told(error, key) for key, error in outcome.failed.items()]
    for text in dict.fromkeys(filter(None, (environment.reading for environment in outcome.ready.values()))):
        console.warn(text)
    if told := summary(progress.built_environments):
        console.say(told)
    console.errors(errors)
    if progress.changed:
        from sharedenv.cli.trimming import trim_and_tell  # noqa: PLC0415 - most find all built

        trim_and_tell(project.layout, plan.needs, console)
    return outcome.ready, errors


def _told(error: Exception, key: str) -> SharedenvError:
    if isinstance(error, SharedenvError):
        return error
    from sharedenv.report.bug import write_report  # noqa: PLC0415 - needed once in a blue moon

    return write_report(error, f"build, environment {key[:SHORT]}")
