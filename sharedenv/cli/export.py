"""`sharedenv export`."""

from __future__ import annotations

import os
import re
import shlex

import click

from sharedenv.app.export import FORMATS, PYLOCK, REQUIREMENTS, Exported, of_payload, of_run, of_script
from sharedenv.app.project import Selection, existing_pool, open_project
from sharedenv.app.runs import meant_run, pool_of_runs
from sharedenv.care.survey import survey
from sharedenv.cli.options import contrary, option, paths
from sharedenv.cli.pools import current, names_key, select
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.report.console import Console


@contrary("run_id", "python", why="a run has its environments")
@contrary("run_id", "no_lock", why="a run has its versions")
@click.command()
@click.argument("name", metavar="KEY|SCRIPT", required=False, type=click.UNPROCESSED, shell_complete=paths)
@option("--format", "form", type=click.Choice(FORMATS), help=f"What to write. [default: {REQUIREMENTS}, or as FILE is called]")
@option("-o", "--output", metavar="FILE", help="Write to FILE in place of stdout.")
@option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
@option("--run", "run_id", metavar="RUN", help="What a run was computed with; of several sets, the one of SCRIPT, or of this digest.")
@option("--no-lock", is_flag=True, help="Pass by the project's sharedenv.lock.")
@click.pass_obj
def export(
    console: Console, name: str | None, form: str | None, output: str | None, python: str | None, run_id: str | None, no_lock: bool
) -> int:
    """Write the versions of an environment for other tools: requirements.txt (pip, uv), or pylock.toml (PEP 751).

    KEY is the beginning of a key, as long as no other key begins so. Hashes are written where those of all packages are known.
    """
    form = form or (PYLOCK if output and re.fullmatch(r"pylock(\.[^.]+)?\.toml", os.path.basename(output)) else REQUIREMENTS)
    if run_id is not None:
        layout = pool_of_runs(console.pool)
        found = of_run(layout, meant_run(layout, run_id, console), name)
    elif name is None:
        raise click.UsageError("name KEY or SCRIPT, or --run RUN")
    else:
        found = _find(console.pool, name, python, no_lock)
    text = found.text(form)
    if output is None:
        console.result(text.rstrip("\n"))
        return 0
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        hint = f"ls -ld {shlex.quote(os.path.dirname(output) or '.')}"
        raise SharedenvError(f"can't write {output}", cause=error.strerror, hint=hint, exit_code=EXIT_USAGE) from None
    return 0


def _find(pool: str | None, name: str, python: str | None, no_lock: bool) -> Exported:
    if not names_key(name):
        project = open_project(pool, Selection("export", (name,), python=python, no_lock=no_lock))
        return of_script(project, name)
    layout = existing_pool(pool, trust=False)
    item = current(select(survey(layout), [name], "export"))
    if item.manifest is None:
        raise SharedenvError(f"can't read what {name} holds", hint=f"sharedenv show {name}", exit_code=EXIT_USAGE)
    return of_payload(layout, name, item.manifest.payload)
