"""`sharedenv help`: pages of the manual for who has only what was installed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sharedenv.cli.main import COMMANDS
from tests.cli.test_completion import Terminal, terminal  # noqa: F401 - a fixture
from tests.conftest import Project
from tests.readme import DOCS, read

TOPICS = sorted(path.stem for path in DOCS.glob("*.md"))


def test_the_pages_are_listed_each_with_what_it_is_about(project: Project) -> None:
    lines = [line.split(None, 1) for line in project.call("help").stdout.splitlines() if line.startswith("  ")]
    assert sorted(name for name, _ in lines) == TOPICS
    assert all(f"# {about}" == read(name).splitlines()[0] for name, about in lines)
    assert lines[0][0] == "run", "in the order in which they are met"


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if topic not in COMMANDS])
def test_a_page_in_a_pipe_is_its_text(project: Project, topic: str) -> None:
    text = project.call("help", topic).stdout
    assert text.startswith(read(topic).splitlines()[0])
    assert "\033" not in text and "<!--" not in text and ".md)" not in text
    assert text.count("\n## ") == read(topic).count("\n## "), "all of it"


@pytest.mark.parametrize("command", COMMANDS)
def test_of_a_command_it_says_what_h_says(project: Project, command: str) -> None:
    text, said = project.call("help", command).stdout, project.call(command, "-h").stdout
    assert text.startswith(said)
    assert (text == said) == (command not in TOPICS), "a page of that name follows"


@pytest.mark.parametrize(("word", "meant"), [("falts", "'faults'"), ("runs", "'run'"), ("frobnicate", "")])
def test_a_page_that_there_is_not(project: Project, word: str, meant: str) -> None:
    said = project.call("help", word, status=2).stderr
    first, hint = said.splitlines()[0], said.splitlines()[-1]
    assert first.startswith(f"error: no page and no command {word!r}")
    assert meant in first and ("did you mean" in first) == bool(meant)
    assert hint == "hint: sharedenv help"


def at_a_terminal(project: Project, *words: str, **variables: str) -> str:
    """What is written to a terminal, by a pager that only passes it on."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sharedenv", *words], env={**project.env, "PAGER": "cat", "TERM": "xterm", "COLUMNS": "80", **variables},
        cwd=project.path, stdin=theirs, stdout=theirs, stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the terminal has gone with its last user
            break
        said += piece
        if not piece:
            break
    os.close(ours)
    assert process.wait(60) == 0
    return said.decode()


def test_a_page_at_a_terminal_is_rendered(project: Project) -> None:
    text = at_a_terminal(project, "help", "faults")
    assert "\033[" in text and "## " not in text and "•" in text and "<!--" not in text
    assert "\033[3" not in at_a_terminal(project, "help", "faults", NO_COLOR="1")
    assert "\033[3" not in at_a_terminal(project, "--color", "never", "help", "faults")
    assert at_a_terminal(project, "help", "faults", TERM="dumb").startswith("# When something")


def test_a_reader_who_has_enough(project: Project) -> None:
    assert project.call("help", "faults").stdout.count("\n") > 100
    env = {**project.env, "PATH": f"{project.command}:{project.env['PATH']}"}
    assert project.shell("sharedenv help faults | head -n 1", env) == "# When something goes wrong\n"


def test_topics_and_commands_are_completed(project: Project, terminal: Terminal) -> None:  # noqa: F811 - the fixture
    assert "# When something goes wrong" in terminal.type("sharedenv help faul\t | cat")
    assert "Usage: sharedenv which" in terminal.type("sharedenv help whi\t | cat")


def test_they_are_in_the_wheel(tmp_path: Path) -> None:
    root = DOCS.parent.parent
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, tmp_path], cwd=root, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        names = set(wheel.namelist())
    assert {f"sharedenv/docs/{name}.md" for name in TOPICS} <= names


