"""The README says what is there: its commands, options, exit codes, scripts and tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sharedenv import errors
from sharedenv.cli.main import COMMANDS, cli
from tests.conftest import Project
from tests.readme import blocks, commands, read, section

ROOT = Path(__file__).parent.parent.parent
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


WITHOUT = {  #: options that no variable sets: it may be meant for another command
    ("prune", "--all"), ("prune", "--keep"), ("status", "--joblog"), ("init", "--max-size"), ("init", "--unused-for"), ("init", "--pack")
}  # fmt: skip


def test_every_long_option_has_its_variable() -> None:
    assert "Every long option can be set by a variable" in section("Commands")
    context = click.Context(cli)
    for command in [cli, *(cli.get_command(context, name) for name in COMMANDS)]:
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "version" and not parameter.hidden:
                long = max(parameter.opts, key=len)
                without = long == "--stage" or (command.name, long) in WITHOUT
                variable = None if without else "SHAREDENV_" + long[2:].upper().replace("-", "_")
                assert parameter.envvar == variable, f"{command.name} {long}"


def test_the_exit_codes_are_ours() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes", "files"), re.MULTILINE)}
    ours = {getattr(errors, name) for name in dir(errors) if name.startswith("EXIT_")}
    assert listed == {0} | ours


def test_what_it_calls_is_there_and_can_be_run() -> None:
    scripts = set(re.findall(r"`(scripts/\w+|\.ci/run)`", README)) | set(re.findall(r"^\$ (scripts/\w+)", README, re.MULTILINE))
    assert {"scripts/demo", "scripts/test", "scripts/bench"} <= scripts
    assert all(os.access(ROOT / name, os.X_OK) for name in scripts)


def test_the_options_of_the_benchmark() -> None:
    """Those that the page about speed shows: too long to be run here."""
    text = subprocess.run([sys.executable, ROOT / "scripts" / "bench", "--help"], capture_output=True, text=True, check=True).stdout
    shown = [command for block in blocks(read("speed"), "console") for command, _ in commands(block)]
    assert len(shown) == 4
    for word in {word for command in shown for word in command.split()[1:]} - {"DIR"}:
        assert word in text


def test_it_names_no_option_of_run_that_is_not_there(project: Project) -> None:
    text = project.call("run", "--help").stdout
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", section("If you know GNU parallel", "run"), re.MULTILINE)
    for option in re.findall(r"--[a-z-]+", " ".join(rows)):
        assert option in text
