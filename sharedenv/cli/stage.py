"""`sharedenv stage`."""

from __future__ import annotations

import os

import click

from sharedenv.app.project import Selection, open_project
from sharedenv.app.stage import stage_all
from sharedenv.cli.options import option
from sharedenv.cli.scripts import script_options
from sharedenv.copies.stage import stage_folder
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.report.console import Console
from sharedenv.report.words import duration, size
from sharedenv.start.access import SHORT
from sharedenv.start.staged import VARIABLE


@click.command("stage")
@script_options
@option("--to", metavar="DIR", help="Where to. [default: SLURM_TMPDIR, else a folder of yours under TMPDIR]")
@click.pass_obj
def stage_(console: Console, selection: Selection, to: str | None) -> int:
    """Copy environments to node-local disk, once a node, and print the folder.

    In a job script: SHAREDENV_STAGE=$(sharedenv stage 'case*/script.py') || exit; export SHAREDENV_STAGE.
    What is run after that uses the copies.
    """
    project = open_project(console.pool, selection)
    plan = project.plan(project.paths)
    ready, missing = look_up_all(project.layout, plan)
    if missing:
        raise missing_error(project.layout, plan.needs, missing, project.options)
    folder = stage_folder(to, os.environ)
    for done in stage_all(project.layout, ready.values(), folder, console):
        name = done.environment.key[:SHORT]
        if done.seconds is None:
            console.detail(f"environment {name} is in {folder} already")
        else:
            console.say(f"staged environment {name} to {folder} in {duration(done.seconds)} ({size(done.environment.manifest.bytes)})")
    console.result(folder)
    return 0


def tell_staged(pooled: str, used: str, console: Console) -> None:
    """With -v and SHAREDENV_STAGE set: whether a script runs from the copy on this node or from the pool."""
    if folder := os.environ.get(VARIABLE):
        console.detail(f"using the copy {used}" if used != pooled else f"no copy of {pooled} in {folder}: using the pool's")
