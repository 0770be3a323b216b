"""`sharedenv doctor`."""

from __future__ import annotations

import os

import click

from sharedenv.app.project import pool_here
from sharedenv.care.doctor import Finding, Level, examine_machine
from sharedenv.cli.options import json_option
from sharedenv.errors import EXIT_FAILED
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.words import count
from sharedenv.run.journal.runs import holds_unfinished
from sharedenv.start.environ import current_folder
from sharedenv.start.find_pool import FOLDER

_STYLE = {Level.GOOD: "good", Level.NOTE: "dim", Level.WARNING: "warning", Level.PROBLEM: "error"}


@click.command()
@json_option
@click.pass_obj
def doctor(console: Console, as_json: bool) -> int:
    """Find what on this machine would hurt, each with the one line that mends it. Exit 1 if there is a problem."""
    here = current_folder(os.environ)
    layout = pool_here(console.pool) or Layout(os.path.join(here, FOLDER))
    findings = list(examine_machine(layout, os.environ, holds_unfinished))
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    if as_json:
        console.document({"pool": layout.path, "findings": [_value(finding) for finding in findings], "errors": []})
    else:
        for finding in findings:
            console.result("\n".join(_lines(finding, console)))
        warnings = sum(finding.level is Level.WARNING for finding in findings)
        console.say(f"{count(len(problems), 'problem')}, {count(warnings, 'warning')}")
    return EXIT_FAILED if problems else 0


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
