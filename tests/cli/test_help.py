"""What --help and usage say."""

from __future__ import annotations

import pytest

from tests.conftest import Project


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("build", "Usage: sharedenv build [OPTIONS] [SCRIPT]..."),
        ("run", "Usage: sharedenv run [OPTIONS] [SCRIPT]... [-- ARG...]"),
        ("submit", "Usage: sharedenv submit [OPTIONS] [SCRIPT]... [-- ARG...]"),
        ("prune", "Usage: sharedenv prune [OPTIONS] [--keep SCRIPT...]"),
    ],
)
def test_usage(project: Project, command: str, usage: str) -> None:
    text = project.call(command, "--help").stdout
    assert text.splitlines()[0] == usage
    assert "[default: (" not in text


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["rnu", "x.py"], "no such command 'rnu'; did you mean 'run'?", "sharedenv run x.py"),
        (["rm", "abc"], "no such command 'rm'", "sharedenv prune --dry-run"),
        (["clean"], "no such command 'clean'", "sharedenv prune --dry-run"),
        (["logs"], "no such command 'logs'", "sharedenv status"),
        (["kill"], "no such command 'kill'", "sharedenv cancel"),
        (["retry"], "no such command 'retry'", "sharedenv run --retry-failed"),
        (["upgrade", "my case/s.py"], "no such command 'upgrade'", "sharedenv build --upgrade 'my case/s.py'"),
        (["sync", "a.py", "b.py"], "no such command 'sync'", "sharedenv build a.py b.py"),
        (["frobnicate"], "no such command 'frobnicate'", "sharedenv --help"),
        (["my case/s.py"], "no such command 'my case/s.py'", "sharedenv run 'my case/s.py'"),
        (["case*/script"], "no such command 'case*/script'", "sharedenv run 'case*/script'"),
    ],
)
def test_a_command_that_there_is_not(project: Project, words: list[str], message: str, hint: str) -> None:
    assert project.call(*words, status=2).stderr == f"error: {message}\n\nhint: {hint}\n"


def test_without_a_command_it_is_the_help_and_no_error(project: Project) -> None:
    for words in ((), ("-q",)):
        done = project.call(*words, status=2)
        assert done.stderr == project.call("--help").stdout
        assert done.stdout == ""
