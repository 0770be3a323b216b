"""`status --follow`: on terminals of several widths, and without one; however the run ends."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sharedenv.cli.slurm import counts_now
from sharedenv.report.progress import Rate, plain_line
from sharedenv.report.wrap import wrapped
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.runs import create_run
from sharedenv.run.journal.watched import watched
from tests.conftest import Project

#: waits for the file `go` beside the folders of the cases, then does what its own folder says
BODY = """\
import os, sys, time
while not os.path.exists("../go"):
    time.sleep(0.02)
sys.exit("bad density" if os.path.exists("bad") else 0)"""


class Terminal:
    """A command on a terminal of this size, and what can be seen there."""

    def __init__(self, project: Project, columns: int, rows: int, *arguments: str) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = project.start(*arguments, env={"TERM": "xterm", "NO_COLOR": "1"}, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._columns = columns
        self.said = ""
        self.lines = [""]
        self._row = 0

    def until(self, there: Callable[[str], bool], what: str) -> str:
        """Waits until the screen shows it; the screen."""
        end = time.monotonic() + 60
        while not there(self.screen):
            assert time.monotonic() < end, f"{what}:\n{self.screen}"
            if not self._hear():
                break
        assert there(self.screen), f"{what}:\n{self.screen}"
        return self.screen

    def end(self) -> int:
        """Waits for the end of the command; its exit status."""
        while self._hear():
            pass
        os.close(self._ours)
        return self.process.wait(60)

    @property
    def screen(self) -> str:
        """Its lines."""
        return "\n".join(self.lines)

    def _hear(self) -> bool:
        if not select.select([self._ours], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        text = data.decode()
        self.said += text
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            self._draw(part)
        return True

    def _draw(self, part: str) -> None:
        if part == "\n":
            self._row += 1
            self.lines += [""] * (self._row + 1 - len(self.lines))
        elif up := re.fullmatch(r"\x1b\[(\d+)A", part):
            self._row -= int(up[1])
            assert self._row >= 0
        elif part == "\x1b[J":
            del self.lines[self._row + 1 :]
            self.lines[self._row] = ""
        elif not part.startswith(("\x1b", "\r")):
            # a command that is to be copied stays in one line
            assert len(part) <= self._columns or len(part.split()) == 1 or "sharedenv" in part, part
            self.lines[self._row] = part


def begun(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """A run of which cases are at work."""
    process = project.start("run", *arguments)
    end = time.monotonic() + 60
    while not any('"started":[[' in path.read_text() for path in project.pool.glob("runs/*/results-*.jsonl")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_run_is_redrawn_until_it_ends_and_its_end_stays(project: Project, columns: int) -> None:
    project.copies(5, body=BODY)
    (project.path / "case2" / "bad").touch()
    run = begun(project, "-j2", "--timeout", "5m", "case*/script.py")
    terminal = Terminal(project, columns, 24, "status", "--follow")
    seen = terminal.until(lambda screen: bool(re.search(r"0 of 5\b.*\n$", screen)), "a bar at the foot")
    assert seen.startswith("run 20") and ": running, at work for" in seen.split("\n  sharedenv run")[0].replace("\n  ", " ")
    assert "limit 5 min" in seen.replace("\n  ", " ") and " left" not in seen, "no pace is known"
    (project.path / "go").touch()
    assert terminal.end() == 1 and run.wait(60) == 1
    told = project.call("status").stdout
    end = "\n".join(wrapped(line, columns) for line in told.splitlines())
    assert terminal.screen.rstrip("\n") == end, "nothing of what was drawn before is left"
    assert "1 × exit 1: bad density\n      case2/script.py\n" in told and "to go on: sharedenv run --retry-failed" in told


def test_a_low_terminal_keeps_its_last_line_for_the_bar(project: Project) -> None:
    project.copies(4, body=BODY)
    run = begun(project, "-j2", "case*/script.py")
    terminal = Terminal(project, 80, 4, "status", "--follow")
    terminal.until(lambda screen: "0 of 4" in screen, "the bar")
    drawn = terminal.lines
    assert len(drawn) == 4 and drawn[0].startswith("run 20") and drawn[1] == "…" and "0 of 4" in drawn[2] and not drawn[3]
    (project.path / "go").touch()
    assert (terminal.end(), run.wait(60)) == (0, 0)


def test_ctrl_c_leaves_the_run_to_itself_and_says_nothing(project: Project) -> None:
    project.copies(2, body=BODY)
    run = begun(project, "-j2", "case*/script.py")
    terminal = Terminal(project, 80, 24, "status", "--follow")
    terminal.until(lambda screen: "0 of 2" in screen, "the bar")
    before = terminal.screen
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130 and terminal.screen.rstrip() == before.rstrip()
    assert run.poll() is None
    (project.path / "go").touch()
    assert run.wait(60) == 0
    assert "2 succeeded" in project.call("status", "--follow").stdout


def test_a_run_that_died_is_told(project: Project) -> None:
    project.copies(2, body=BODY)
    run = begun(project, "-j1", "case*/script.py")
    following = project.start("status", "--follow")
    assert following.stderr is not None
    assert ": running, at work for" in following.stderr.readline()
    run.kill()
    (project.path / "go").touch()
    told, _ = following.communicate(timeout=60)
    assert following.returncode == 1 and ": lost, its process died without a word" in told
    assert f"to go on: sharedenv run --resume --run-id {told.split()[1].rstrip(':')}\n" in told


def test_without_a_terminal_it_is_a_line_now_and_then(project: Project) -> None:
    project.copies(3, body=BODY)
    run = begun(project, "-j2", "case*/script.py")
    following = project.start("status", "--follow")
    assert following.stderr is not None
    first, second = following.stderr.readline(), following.stderr.readline()
    assert re.fullmatch(r"run \S+: running, at work for .* \(process \d+ on .*\)\n", first), first
    assert re.match(r"\d.* s: 0 of 3, 2 running", second), second
    (project.path / "go").touch()
    stdout, rest = following.communicate(timeout=60)
    assert (following.returncode, run.wait(60)) == (0, 0) and "\033" not in stdout + rest and stdout == project.call("status").stdout


def test_its_exit_status_is_that_of_the_run(project: Project) -> None:
    project.script("case1/script.py", ["no-such-package"], BODY)
    project.script("case2/script.py", [], BODY)
    project.call("run", "case1/script.py", status=3)
    project.call("status", "--follow", status=3)
    run = begun(project, "case2/script.py")
    following = project.start("status", "--follow")
    assert following.stderr is not None and following.stderr.readline()
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    told, _ = following.communicate(timeout=60)
    assert following.returncode == 130 and ": interrupted, ended by the user" in told


def test_what_is_planned_is_waited_for(project: Project) -> None:
    (project.path / "go").touch()
    project.copies(3, body=BODY)
    planned = project.call("plan", "case*/script.py").stdout.strip()
    following = project.start("status", "--follow", planned)
    assert following.stderr is not None
    assert following.stderr.readline() == f"run {planned}: planned, nothing was started yet\n"
    project.call("join", planned)
    told, _ = following.communicate(timeout=60)
    assert following.returncode == 0 and f"run {planned}: done, every script succeeded" in told


def test_what_else_is_asked_is_another_answer(project: Project) -> None:
    project.copies(1)
    project.call("run", "case1/script.py")
    for other in ("--json", "--all", "--list=failed", "--failures"):
        assert "--follow" in project.call("status", "--follow", other, status=2).stderr + project.call("status", other, "--follow", status=2).stdout


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    """Line by line and in the middle of a line, what a run watched says is what it says when it is read anew."""
    cases = [Case(number, f"{tmp_path}/case{number}/script.py", (), "k" * 64, "d" * 64) for number in range(1, 31)]
    run = create_run(str(tmp_path / ".sharedenv/runs"), cases)
    writing = run.begin(jobs=3)
    looked = watched(run)
    assert looked.read()[0] == {} and looked.read()[1][0].alive
    for number in range(1, 16):
        writing.start(number, 4000 + number)
        writing.append(Result(number, 1, 1e9 + number, 1.0, 1.0, None, number % 2, 0, "node1", tail="first\nlast"))
        assert looked.read()[0] == run.read()[0] and looked.results_by_writer() == run.results_by_writer()
    writing.start(16, 4016)
    (state,) = looked.read()[1]
    assert state.running.keys() == {16} and state.groups == {16: 4016} and looked.cases() == run.cases()
    path = Path(writing.path)
    line = path.read_bytes().splitlines()[2].replace(b'"sequence":1,', b'"sequence":17,')
    with path.open("ab") as file:
        file.write(line[:40])
        file.flush()
        before = looked.read()[0]
        file.write(line[40:])
        file.flush()
        assert 17 not in looked.read()[0], "a line is whole with its end"
        file.write(b"\n")
    after = looked.read()[0]
    assert after.keys() - before.keys() == {17} and after == run.read()[0]
    assert looked.attempts() == run.attempts()
    path.write_bytes(path.read_bytes().replace(b'"attempt":1', b'"attempt":7'))
    assert looked.read()[0] == after, "only what has come since is read"
    with path.open("ab") as file:
        file.write(b'{"ended":"done","time":1000000099.0}\n')
    after, (state,) = looked.read()
    assert state.ended == "done"
    path.write_bytes(b"")
    assert looked.read()[0] == after, "who has ended writes nothing more"


def test_who_waits_for_a_submission_sees_the_one_that_hangs(tmp_path: Path) -> None:
    """By the run's own files, at each look: what squeue said half a minute ago was that eight run, and time was left while one hung."""
    cases = [Case(number, f"{tmp_path}/case{number}/script.py", (), "k" * 64, "d" * 64) for number in range(1, 10)]
    run = create_run(str(tmp_path / ".sharedenv/runs"), cases)
    writing = run.begin(jobs=2)
    for number in range(1, 8):
        writing.append(Result(number, 1, 1e9, 1.0, status=int(number == 3)))
    writing.write({"started": [[9, 4009]], "time": time.time() - 60})
    looked = watched(run)
    counts = counts_now(looked, range(1, 10), looked.results(), 300.0)
    assert (counts.waiting, counts.running, counts.failed) == (1, 1, 1) and counts.ages[0] >= 60
    writing.append(Result(8, 1, 1e9, 1.0, status=0))
    ended = looked.results()
    writing.write({"started": [[3, 4003]], "time": time.time() - 90})  # on a rung above: it counts once
    counts = replace(counts_now(looked, range(1, 10), ended, 300.0), ages=(61.0,))
    told = plain_line(counts, Rate(91.0, 0.1), lambda path: path.removeprefix(f"{tmp_path}/"))
    assert told == "1 min 31 s: 8 of 9, 1 failed, 1 running: case9/script.py for 1 min 1 s, limit 5 min 0 s"


def test_cases_that_are_added_are_seen(tmp_path: Path) -> None:
    cases = [Case(number, f"{tmp_path}/case{number}/script.py", (), "k" * 64, "d" * 64) for number in range(1, 4)]
    run = create_run(str(tmp_path / ".sharedenv/runs"), cases[:2])
    looked = watched(run)
    assert looked.cases() is looked.cases() and len(looked.cases()) == 2
    run.extend(cases[2:])
    assert looked.cases() == run.cases() == cases
