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


def test_without_a_command_it_is_the_help_and_no_error(project: Project) -> None:
    for words in ((), ("-q",)):
        done = project.call(*words, status=2)
        assert done.stderr == project.call("--help").stdout
        assert done.stdout == ""
