"""`sharedenv doctor`."""

from __future__ import annotations

import os
import shutil

import click

from sharedenv.app.project import pool_here
from sharedenv.build.uv import find_uv
from sharedenv.care.doctor import Finding, Level, examine_index, examine_machine
from sharedenv.cli.options import json_option
from sharedenv.cluster.slurm import silence
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.words import count
from sharedenv.run.journal.runs import holds_unfinished
from sharedenv.start.environ import current_folder
from sharedenv.start.find_pool import FOLDER

_PATIENCE = 5.0  #: seconds that Slurm's controller has for an answer
_STYLE = {Level.GOOD: "good", Level.NOTE: "dim", Level.WARNING: "warning", Level.PROBLEM: "error"}


@click.command()
@json_option
@click.pass_obj
def doctor(console: Console, as_json: bool) -> int:
    """Find what on this machine would hurt, each with the one line that mends it. Exit 1 if there is a problem."""
    here = current_folder(os.environ)
    layout = pool_here(console.pool) or Layout(os.path.join(here, FOLDER))
    findings = [*examine_machine(layout, os.environ, holds_unfinished), *_index(layout), _slurm()]
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    if as_json:
        console.document({"pool": layout.path, "findings": [_value(finding) for finding in findings], "errors": []})
    else:
        for finding in findings:
            console.result("\n".join(_lines(finding, console)))
        warnings = sum(finding.level is Level.WARNING for finding in findings)
        console.say(f"{count(len(problems), 'problem')}, {count(warnings, 'warning')}")
    return EXIT_FAILED if problems else 0


def _index(layout: Layout) -> list[Finding]:
    try:
        uv = find_uv(os.environ)
    except SharedenvError:
        return []  # told already
    return [examine_index(uv, layout, os.environ)]


def _slurm() -> Finding:
    path = shutil.which("sbatch")
    if path is None:
        return Finding("Slurm", Level.NOTE, "not on this machine")
    try:
        why = silence(os.environ, _PATIENCE)
    except SharedenvError as error:
        why = error.message
    if why:
        return Finding("Slurm", Level.NOTE, f"sbatch at {path}, but no cluster answers: {why.splitlines()[-1]}", "scontrol ping")
    return Finding("Slurm", Level.GOOD, f"sbatch at {path}, and the cluster answers")


def _lines(finding: Finding, console: Console) -> list[str]:
    word = console.result_style(_STYLE[finding.level], finding.level.value.rjust(8))
    lines = [f"{word}  {finding.subject}: {finding.text}"]
    if finding.remedy is not None:
        lines.append(f"{' ' * 10}{console.result_style('hint', 'hint:')} {finding.remedy}")
    return lines


def _value(finding: Finding) -> dict[str, object]:
    return {
        "subject": finding.subject,
        "level": finding.level.value,
        "text": finding.text,
        "hint": finding.remedy,
    }
