"""On a narrow terminal lines break between words; what is to be copied does not break."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios

import pytest

from sharedenv.report.board import fitting
from sharedenv.report.wrap import wrapped
from tests.conftest import Project


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("building environment abc for 12 scripts", 40, ["building environment abc for 12 scripts"]),
        ("building environment c5b745dce099 for 12 scripts (case1/script.py, …)", 40,
         ["building environment c5b745dce099 for 12", "  scripts (case1/script.py, …)"]),
        ("  cause: no room in the pool /here/it/is: No space left", 30,
         ["  cause: no room in the pool", "         /here/it/is: No space", "         left"]),
        ("         and because of that, all is as it is", 30, ["         and because of that,", "         all is as it is"]),
        ("  12 × exit 1: ValueError: too much of it", 24, ["  12 × exit 1:", "       ValueError: too", "       much of it"]),
        ("to go on: sharedenv run --resume --run-id 20260101-000000", 40, ["to go on: sharedenv run --resume --run-id 20260101-000000"]),
        ("running: case40/script.py 0.45 s, case42/script.py 1 min 33 s; limit 12 s", 33,
         ["running: case40/script.py 0.45 s,", "  case42/script.py 1 min 33 s;", "  limit 12 s"]),
        ("largest: case40/script.py 1.2 GB and more in case 40 schemes", 31, ["largest: case40/script.py", "  1.2 GB and more in case 40", "  schemes"]),
        ("  to run them again: sharedenv run --retry-failed --group 1 --run-id 20260101-000000", 80,
         ["  to run them again:", "    sharedenv run --retry-failed --group 1 --run-id 20260101-000000"]),
        ("\x1b[36mhint:\x1b[0m sharedenv build 'case*/script.py'", 36, ["\x1b[36mhint:\x1b[0m", "  sharedenv build 'case*/script.py'"]),
        ("hint: export HTTPS_PROXY=http://HOST:PORT  # or elsewhere", 40, ["hint: export HTTPS_PROXY=http://HOST:PORT  # or elsewhere"]),
        ("made the pool /home/somebody/with/a/very/long/name/.sharedenv", 30,
         ["made the pool", "  /home/somebody/with/a/very/long/name/.sharedenv"]),
        ("\x1b[1;31mfailed:\x1b[0m case3/script.py: exit 1", 24, ["\x1b[1;31mfailed:\x1b[0m case3/script.py:", "  exit 1"]),
    ],
)  # fmt: skip
def test_lines_break_between_words(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width).split("\n") == lines
    assert wrapped(f"{text}\n{text}", width).split("\n") == [*lines, *lines]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("a line as wide as 23 has", "a line as wide as 23 has"),
        ("  sharedenv run 'case*/script.py'", "  sharedenv run 'case*/…"),
        ("\x1b[31mas wide as 24 letters ok\x1b[0m", "\x1b[31mas wide as 24 letters ok\x1b[0m"),
        ("\x1b[31mtoo long\x1b[0m a word or name indeed", "too long a word or name…"),
    ],
)
def test_what_is_drawn_again_and_again_is_cut_and_says_so(line: str, shown: str) -> None:
    assert fitting(line, 24) == shown


def test_no_word_is_lost_at_any_width() -> None:
    text = "10 s: 1 of 12, 1 failed, 2 running, 1 min 40 s left, 12/min"
    for width in range(1, 80):
        told = wrapped(text, width)
        assert told.split() == text.split()
        assert all(len(line) <= width or len(line.split()) == 1 for line in told.split("\n"))


def on_terminal(project: Project, columns: int, *arguments: str, piped: bool) -> str:
    """What a command says on a terminal of this width; ``piped``: its stdout goes through a pipe."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = project.start(*arguments, stdout=subprocess.PIPE if piped else theirs, stderr=theirs, env={"TERM": "xterm", "NO_COLOR": "1"})
    os.close(theirs)
    said = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        said += data
    os.close(ours)
    process.communicate()
    return said.decode()


def test_a_live_line_is_drawn_where_nothing_else_can_write_into_it(project: Project) -> None:
    project.copies(3, ["alpha"], "import time; time.sleep(0.3); print('x')")
    said = on_terminal(project, 40, "run", "-j1", "case*/script.py", piped=True)
    assert "\033" not in said, "what reads the pipe may write there, too"
    lines = said.splitlines()
    assert "3 scripts in" in said and "building environment" in said
    assert all(len(line) <= 40 or len(line.split()) == 1 for line in lines), lines
    assert "\033[K" in on_terminal(project, 40, "run", "-j1", "case*/script.py", piped=False)
