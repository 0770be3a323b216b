"""The README says what is there: its commands, options, exit codes, scripts and tests."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest

from sharedenv import errors
from sharedenv.cli.main import COMMANDS, cli
from tests.conftest import Project
from tests.readme import section

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_command_has_its_row_in_the_order_of_help() -> None:
    rows = re.findall(r"^\| `(\w+)", section("Commands"), re.MULTILINE)
    assert [name for name in rows if name in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_options_named_in_the_table_are_in_help(project: Project, command: str) -> None:
    (row,) = re.findall(rf"^\| `{command}\b.*$", section("Commands"), re.MULTILINE)
    text = project.call(command, "--help").stdout
    for name in set(re.findall(r"--[a-z][a-z-]+", row)) - {"--jobs"}:
        assert name in text
    assert text.startswith(f"Usage: sharedenv {command} ")


def test_every_long_option_has_its_variable() -> None:
    assert "every long option can be set by a variable" in section("Commands")
    context = click.Context(cli)
    for command in [cli, *(cli.get_command(context, name) for name in COMMANDS)]:
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "version":
                long = max(parameter.opts, key=len)
                without = long == "--stage" or (command.name, long) in {("prune", "--all"), ("prune", "--keep"), ("status", "--joblog")}
                variable = None if without else "SHAREDENV_" + long[2:].upper().replace("-", "_")
                assert parameter.envvar == variable, f"{command.name} {long}"


def test_the_exit_codes_are_ours() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Commands"), re.MULTILINE)}
    ours = {getattr(errors, name) for name in dir(errors) if name.startswith("EXIT_")}
    assert listed == {0} | ours


def test_what_it_calls_is_there_and_can_be_run() -> None:
    scripts = set(re.findall(r"`(scripts/\w+|\.ci/run)`", README)) | set(re.findall(r"^\$ (scripts/\w+)", README, re.MULTILINE))
    assert {"scripts/demo", "scripts/test", "scripts/bench"} <= scripts
    assert all(os.access(ROOT / name, os.X_OK) for name in scripts)


def test_the_tests_it_names_exist() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
    file = ""
    for name, test in re.findall(r"`(test_\w+\.py|…)(?:::(\w+))?", section("When things go wrong")):
        file = file if name == "…" else name
        where = files.values() if name == "…" else [files[file]]
        assert any(f"def {test}" in text for text in where), f"{name}::{test}"


def test_it_names_no_option_of_run_that_is_not_there(project: Project) -> None:
    text = project.call("run", "--help").stdout
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", section("Thousands of copies, overnight"), re.MULTILINE)
    for option in re.findall(r"--[a-z-]+", " ".join(rows)):
        assert option in text
