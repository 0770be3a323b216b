"""SHAREDENV_* variables: what is typed wins, and what says nothing to a command is passed over."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator

import click
import pytest

from sharedenv.cli.main import COMMANDS
from sharedenv.cli.options import CONTRARY, given
from sharedenv.errors import SharedenvError
from tests.conftest import Project


def _commands() -> dict[str, click.Command]:
    found = (importlib.import_module(place.split(":")[0]).__dict__[place.split(":")[1]] for place, _ in COMMANDS.values())
    return {command.name or "": command for command in found}


def _pairs() -> Iterator[tuple[click.Command, str, str]]:
    """Every two parameters of a command that contradict each other, both ways round."""
    for name, command in _commands().items():
        for names, _ in CONTRARY.get(name, ()):
            yield from ((command, one, other) for one, other in itertools.permutations(names, 2))


def _parameter(command: click.Command, name: str) -> click.Parameter:
    return next(one for one in command.params if one.name == name)


def _value(parameter: click.Parameter) -> str:
    values = {"shard": "1/2", "unused_for": "3d", "max_size": "1G", "ended": "failed"}
    return values.get(parameter.name or "", "3")


def _typed(parameter: click.Parameter) -> list[str]:
    if isinstance(parameter, click.Option):
        return [max(parameter.opts, key=len), *(() if parameter.is_flag else (_value(parameter),))]
    return ["20261122-101500"]


def _variable(parameter: click.Parameter) -> tuple[str, str] | None:
    if not isinstance(parameter.envvar, str):
        return None
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    return parameter.envvar, "1" if flag else _value(parameter)


PAIRS = [pytest.param(*pair, id="-".join([pair[0].name or "", *pair[1:]])) for pair in _pairs()]


def test_there_are_pairs_to_try() -> None:
    tried = {(pair.values[0].name, *sorted(map(str, pair.values[1:]))) for pair in PAIRS}  # type: ignore[union-attr]  # a pair's first is a command
    assert {
        ("build", "check", "rebuild"), ("build", "check", "shared_group"), ("build", "check", "upgrade"),
        ("build", "check", "upgrade_packages"), ("build", "upgrade", "upgrade_packages"),
        ("export", "no_lock", "run_id"), ("export", "python", "run_id"), ("lock", "check", "packages"), ("lock", "check", "upgrade"),
        ("lock", "packages", "upgrade"), ("show", "python", "run_id"),
        ("key", "as_json", "diff"), ("key", "as_json", "explain"), ("key", "diff", "explain"),
        ("prune", "everything", "keep"), ("prune", "everything", "max_size"), ("prune", "everything", "unused_for"),
        ("run", "array", "shard"), ("run", "resume", "retry_failed"),
        ("status", "as_json", "ended"), ("status", "ended", "everything"), ("status", "everything", "run_id"),
        ("status", "everything", "failures"), ("status", "ended", "failures"), ("status", "failures", "joblog"),
        ("run", "launcher", "preload"), ("plan", "launcher", "preload"), ("submit", "launcher", "preload"),
        ("status", "as_json", "failures"), ("status", "as_json", "joblog"), ("status", "ended", "joblog"), ("status", "everything", "joblog"),
        *(("status", *sorted(("follow", other))) for other in ("everything", "joblog", "ended", "failures", "as_json")),
        ("prune", "everything", "packs"),
        ("submit", "build_job", "no_build"), ("submit", "per_task", "tasks"), ("submit", "resume", "retry_failed"),
    } == tried  # fmt: skip


@pytest.mark.parametrize(("command", "one", "other"), PAIRS)
def test_a_variable_yields_to_what_is_typed(
    command: click.Command, one: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = _variable(_parameter(command, other))
    if variable is None:
        return  # it can't be set but on the command line
    monkeypatch.setenv(*variable)
    context = command.make_context(command.name, _typed(_parameter(command, one)))
    assert given(context, one) and not given(context, other)
    monkeypatch.setenv(variable[0], "no such value")  # passed over is not even read
    if variable[1] != "1":
        command.make_context(command.name, _typed(_parameter(command, one)))


@pytest.mark.parametrize(("command", "one", "other"), PAIRS)
def test_both_typed_are_refused(command: click.Command, one: str, other: str) -> None:
    words = [*_typed(_parameter(command, one)), *_typed(_parameter(command, other))]
    with (
        command.make_context(command.name, words) as context,
        pytest.raises(SharedenvError, match="give one of them") as refused,
    ):
        command.invoke(context)
    assert {word for word in words if word.startswith("--")} <= set(str(refused.value).replace(":", "").replace(";", "").split())


def test_two_variables_that_contradict_each_other_are_named(project: Project) -> None:
    project.script("a.py")
    done = project.call("run", "a.py", env={"SHAREDENV_ARRAY": "1", "SHAREDENV_SHARD": "1/2"}, status=2)
    assert "SHAREDENV_ARRAY and SHAREDENV_SHARD: --array is one run of all tasks, --shard one of its own" in done.stderr
    assert "hint: unset SHAREDENV_SHARD" in done.stderr
    project.call("run", "a.py", env={"SHAREDENV_ARRAY": "0", "SHAREDENV_SHARD": "1/2"})  # off is no contradiction


def test_variables_beside_a_command_line_that_says_otherwise(project: Project) -> None:
    project.copies(2, body="import os; print(os.getcwd()[-5:])")
    run = project.call("run", "--shard", "1/2", "case*/script.py", env={"SHAREDENV_ARRAY": "1"})
    assert run.stdout == "case2\n"
    assert "nothing to run" in project.call("run", "--retry-failed", "case2/script.py", env={"SHAREDENV_RESUME": "1"}).stderr
    assert project.call("run", "case1/script.py", env={"SHAREDENV_RUN_ID": "20200101-000000"}).stdout == "case1\n"
    assert project.call("run", "case1/script.py", env={"SHAREDENV_FROM_FILE": "/nowhere"}).stdout == "case1\n"
    assert "requires-python" in project.call("key", "--explain", "case1/script.py", env={"SHAREDENV_JSON": "1"}).stdout
    assert "nothing differs" in project.call(
        "key", "--diff", "case1/script.py", "case2/script.py", env={"SHAREDENV_FROM_FILE": "/nowhere", "SHAREDENV_EXPLAIN": "1"}
    ).stdout  # fmt: skip
    project.call("build", "--rebuild", "case1/script.py", env={"SHAREDENV_CHECK": "1"})
    project.call("prune", env={"SHAREDENV_FROM_FILE": "/nowhere", "SHAREDENV_NULL": "1"})
    assert "building" in project.call("-v", "build", "--rebuild", "case1/script.py", env={"SHAREDENV_QUIET": "1"}).stderr
    assert "export PATH" in project.call("activate", "--shell", "sh", "case1/script.py", env={"SHAREDENV_TASKPROLOG": "1"}).stdout
    assert project.call("prune", "--all", "--dry-run", env={"SHAREDENV_UNUSED_FOR": "3d", "SHAREDENV_MAX_SIZE": "5G"}).stdout


def test_a_run_goes_on_where_it_was_begun_whatever_a_variable_says(project: Project) -> None:
    project.script("case1/s.py", body="import os, sys; print(os.getcwd()); sys.exit(1)")
    project.call("run", "case1/s.py", status=1)
    done = project.call("run", "--retry-failed", env={"SHAREDENV_CWD": "/tmp"}, status=1)
    assert done.stdout == f"{project.path / 'case1'}\n"
    assert "--cwd" in project.call("run", "--retry-failed", "--cwd", "/tmp", status=2).stderr
    project.call("run", "case1/s.py", env={"SHAREDENV_RETRY_FAILED": "1"}, status=1)
