"""What is told of a run while it goes and when it has ended: the texts, as pure functions, and the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sharedenv.pool.owner import this_process
from sharedenv.report.building import live_line as building_line
from sharedenv.report.console import Console
from sharedenv.report.progress import Progress, Rate, live_line, next_plain, plain_line, rate_text
from sharedenv.report.standing import command_text, counts_of, pace_lines, rate_of
from sharedenv.report.summary import group, summarize, summary_lines, words
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.journal.runs import create_run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.journal.standing import stand
from sharedenv.run.terms import Counts
from tests.conftest import Project


def plain(_: str, text: str) -> str:
    return text


def case(number: int) -> Case:
    return Case(number, f"/p/case{number}/script.py")


def failed(number: int, tail: str = "", **fields: Any) -> tuple[Case, Result]:
    return case(number), Result(number, 1, 1.0, **{"status": 1, "tail": tail, **fields})


@pytest.mark.parametrize(
    ("rate", "text"), [(61.2, "61/s"), (4.21, "4.2/s"), (0.2, "12/min"), (0.001, "3.6/h"), (1e-5, "0.0/h"), (12345, "12,345/s")]
)
def test_rate(rate: float, text: str) -> None:
    assert rate_text(rate) == text


def test_the_line_of_a_terminal_says_less_where_there_is_less_room() -> None:
    counts = Counts(20_000, 12_000, 3, 2, 0, waiting=7_995)
    pace = Rate(200.0, 60.0)
    assert live_line(counts, pace, 160, plain) == (
        "━" * 24 + "─" * 16 + "  60%  12,003 of 20,000 · 3 failed · 2 running · 2 min 13 s left · 60/s"
    )
    narrow = live_line(Counts(20_000, 12_000, 3, 2, 1, waiting=7_995), pace, 60, plain)
    assert narrow == "━" * 7 + "─" * 6 + "  60%  12,003 of 20,000 · 3 failed · 2 running"
    assert live_line(counts, pace, 30, plain) == "12,003 of 20,000 · 3 failed"
    for width in range(1, 200):
        line = live_line(counts, pace, width, plain)
        assert len(line) < width or line == "12,003 of 20,000"


def test_the_line_of_a_log() -> None:
    assert plain_line(Counts(90, 48, 0, 2, 0, waiting=40), Rate(10.0, 4.0)) == "10 s: 48 of 90, 2 running, 10 s left, 4.0/s"
    # the pace of scripts says nothing of how long a build takes
    assert plain_line(Counts(9, 2, 0, 1, 1, waiting=6), Rate(10.0, 6.0)) == "10 s: 2 of 9, 1 running, building 1 environment, 6.0/s"
    assert plain_line(Counts(5, 0, 0, 2, 0, waiting=3), Rate(10.0, None)) == "10 s: 0 of 5, 2 running"
    assert plain_line(Counts(5, 5, 0, 0, 0), Rate(60.0, 0.5)) == "1 min 0 s: 5 of 5, 30/min"


def test_where_nothing_waits_the_last_ones_are_named_and_no_time_is_left() -> None:
    """One script that hangs: the estimate counted up with it."""
    pace = Rate(260.0, 0.05)
    one = Counts(9, 8, 0, 1, 0, ages=(240.0,), cases=(Case(1, "case123/script.py"),), limit=300.0)
    assert plain_line(one, pace) == "4 min 20 s: 8 of 9, 1 running: case123/script.py for 4 min 0 s, limit 5 min 0 s"
    assert plain_line(replace(one, limit=None), pace) == "4 min 20 s: 8 of 9, 1 running: case123/script.py for 4 min 0 s"
    three = replace(one, succeeded=6, running=3, ages=(240.0, 3.0, 0.1))
    assert plain_line(three, pace) == "4 min 20 s: 6 of 9, 3 running, longest case123/script.py for 4 min 0 s, limit 5 min 0 s"
    assert plain_line(replace(one, ages=(0.5,)), pace) == "4 min 20 s: 8 of 9, 1 running"
    assert live_line(one, pace, 100, plain).endswith("  88%  8 of 9 · 1 running: case123/script.py for 4 min 0 s · limit 5 min 0 s")
    assert live_line(one, pace, 60, plain) == "8 of 9 · 1 running: case123/script.py for 4 min 0 s"
    assert live_line(one, pace, 50, plain) == "8 of 9 · 1 running: …e123/script.py for 4 min 0 s"
    assert live_line(one, pace, 40, plain) == "8 of 9 · 1 running for 4 min 0 s"
    assert live_line(replace(one, failed=1), pace, 40, plain) == "9 of 9 · 1 failed · 1 running"
    assert live_line(three, pace, 50, plain) == "6 of 9 · 3 running, longest for 4 min 0 s"
    for width in range(1, 200):
        assert len(live_line(three, pace, width, plain)) < max(width, 7)


def test_what_a_build_does_is_told_where_there_is_room() -> None:
    counts, pace = Counts(9, 0, 0, 0, 1, waiting=9), Rate(12.0, None, "downloading numpy: 12 of 29 MB")
    assert plain_line(counts, pace) == "12 s: 0 of 9, building 1 environment: downloading numpy: 12 of 29 MB"
    assert live_line(counts, pace, 80, plain).endswith("0 of 9 · building 1 environment: downloading numpy: 12 of 29 MB")
    assert live_line(counts, pace, 40, plain) == "0 of 9 · building 1 environment"


@pytest.mark.parametrize(
    ("width", "head", "line"),
    [
        (120, "building ab908833f099", "building ab908833f099 downloading numpy, scipy and 1 more: 0 of 65 MB"),
        (80, "building ab908833f099", "building ab908833f099 downloading numpy, scipy and 1 more: 0 of 65 MB"),
        (78, "building ab908833f099", "building ab908833f099 downloading: 0 of 65 MB"),
        (60, "building ab908833f099", "building ab908833f099 downloading: 0 of 65 MB"),
        (40, "", "downloading: 0 of 65 MB"),
        (40, "waiting for another build", "waiting for another build"),
        (30, "", ""),
    ],
)
def test_the_line_of_a_build_breaks_no_word(width: int, head: str, line: str) -> None:
    assert building_line(head, "downloading numpy, scipy and 1 more: 0 of 65 MB", width) == line
    assert building_line(head, "resolving", width) == (f"{head} resolving".strip() if len(head) < 25 else head)


def test_time_left_counts_what_waits_and_what_is_at_work() -> None:
    """Four slots, ten seconds each: 40 that wait take 100 s, and those at work are half through."""
    at_work = Counts(100, 56, 0, 4, 0, waiting=40, ages=(5.0, 5.0, 5.0, 5.0))
    assert "1 min 45 s left" in plain_line(at_work, Rate(140.0, 0.4))
    assert "1 min 40 s left" in plain_line(replace(at_work, ages=(600.0, 20.0, 11.0, 10.0)), Rate(140.0, 0.4))
    assert "1 min 42 s left" in plain_line(replace(at_work, ages=(600.0, 600.0, 6.0, 4.0)), Rate(140.0, 0.4))


def test_the_pace_counts_from_the_first_start_not_from_the_build(capfd: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    progress = Progress(Console(), lambda: now)
    now = 100.0
    progress.show(Counts(20, 0, 0, 0, 1))
    now = 110.0
    progress.show(Counts(20, 10, 0, 2, 0, began=100.0, waiting=8, ages=(1.0, 1.0)))
    assert capfd.readouterr().err.splitlines() == [
        "1 min 40 s: 0 of 20, building 1 environment", "1 min 50 s: 10 of 20, 2 running, 9 s left, 1.0/s",
    ]  # fmt: skip


def test_where_none_has_ended_of_late_the_pace_is_that_of_the_whole_run(capfd: pytest.CaptureFixture[str]) -> None:
    """For longer than the rate is taken over: no pace at all would be told, and no time left."""
    now = 0.0
    progress = Progress(Console(), lambda: now)
    for second in range(1, 61):
        now = float(second)
        done = min(second, 10)
        progress.show(Counts(20, done, 0, 2, 0, began=0.0, waiting=18 - done, ages=(now - 10.0, 1.0) if second > 10 else (1.0, 1.0)))
    assert capfd.readouterr().err.splitlines()[-1] == "1 min 0 s: 10 of 20, 2 running, 54 s left, 10/min"


def test_plain_lines_come_at_sensible_intervals() -> None:
    times, now = [], 0.0
    while now < 2400:
        now = next_plain(now)
        times.append(now)
    assert times == [10, 30, *range(60, 660, 60), 1200, 1800, 2400]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tail": "Traceback\nValueError: bad"}, "exit 1: ValueError: bad"),
        ({"status": 3}, "exit 3"),
        ({"status": -1, "signal": 9}, "killed by SIGKILL"),
        ({"status": -1, "signal": 15, "error": "timed out after 10 s", "tail": "step 7"}, "timed out after 10 s: step 7"),
        ({"error": "its folder can't be entered: /p/case1: gone", "tail": "x"}, "its folder can't be entered: .: gone"),
        ({"tail": "FileNotFoundError: '/p/case1/in.dat'"}, "exit 1: FileNotFoundError: 'in.dat'"),
        ({"tail": "can't open file '/p/case1/script.py'"}, "exit 1: can't open file 'SCRIPT'"),
        ({"tail": "\x1b[31mred"}, "exit 1: \\x1b[31mred"),
        (
            {"tail": f"OSError: cannot write {'x' * 200}: No space left on device"},
            f"exit 1: OSError: cannot write {'x' * 40}…{'x' * 65}: No space left on device",
        ),
    ],
)
def test_words_of_a_failure(fields: dict[str, Any], said: str) -> None:
    assert words(*failed(1, **fields)) == said


@pytest.mark.parametrize(
    ("folder", "tail", "said"),
    [
        ("/", "no /data/in/x", "no /data/in/x"),
        ("/data", "no /data/in/x, /mnt/data/y, /database or /data.old in /data.", "no in/x, /mnt/data/y, /database or /data.old in .."),
        ("/data", "file:///data/x of '/data', /data/data/z", "file://x of '.', data/z"),
    ],
)
def test_paths_in_words_are_whole_or_relative(folder: str, tail: str, said: str) -> None:
    """With --cwd / each slash was a dot."""
    at = Case(1, "/p/case1/script.py", cwd=folder)
    assert words(at, Result(1, 1, 1.0, status=1, tail=tail)) == f"exit 1: {said}"


def test_the_frame_of_an_exception_group_is_not_its_words(project: Project) -> None:
    project.script("s.py", body="raise ExceptionGroup('two', [ValueError('dense'), ExceptionGroup('in', [TypeError('thin')])])")
    project.script("t.py", body="import sys\nsys.exit('?!')")
    told = project.call("run", "s.py", "t.py", status=1).stderr
    assert "s.py: exit 1: TypeError: thin" in told and "t.py: exit 1: ?!" in told


def test_failures_that_say_the_same_are_one_group_the_largest_first() -> None:
    pairs = [failed(1, "A: 1"), failed(2, "B: /p/case2/x"), failed(3, "B: /p/case3/x"), failed(4, "B: /p/case4/x"), failed(5, "A: -2.5e-3")]
    assert [(one.said, [c.sequence for c in one.cases]) for one in group(pairs)] == [
        ("exit 1: B: x", [2, 3, 4]), ("exit 1: A: 1, and the like", [1, 5]),
    ]  # fmt: skip
    assert [one.said for one in group([failed(1, "A", status=2), failed(2, "A")])] == ["exit 2: A", "exit 1: A"]
    addresses = [failed(number, f"bad <Mesh object at {number * 0xB7F5:#x}>") for number in (1, 2, 3)]
    assert [one.said for one in group(addresses)] == ["exit 1: bad <Mesh object at 0xb7f5>, and the like"]
    ended = [failed(number, "", status=-1, signal=how, error="timed out after 1 s") for number, how in ((1, 15), (2, 9))]
    assert [(one.said, len(one.cases)) for one in group(ended)] == [("timed out after 1 s", 2)]


def test_no_failure_goes_unnamed(project: Project) -> None:
    """The eleventh kind was told neither when it happened nor at the end."""
    project.copies(13, body="import os, sys\nsys.exit('kind ' + 'abcdefghijklm'[int(os.path.basename(os.getcwd())[4:]) - 1])")
    told = project.call("run", "-j1", "case*/script.py", status=1).stderr
    assert "further failures are told at the end" in told
    rest = "  and 3 that said 3 other things; sharedenv status --failures has them all\n"
    rest += "      case11/script.py, case12/script.py, case13/script.py\n"
    assert rest in told and rest in project.call("status").stdout
    everything = project.call("-v", "status").stdout
    assert "1 × exit 1: kind m\n      case13/script.py\n" in everything and "other things" not in everything
    eleven = [f"case{number}/script.py" for number in range(1, 12)]
    assert "1 × exit 1: kind k" in project.call("run", *eleven, status=1).stderr.partition("at the end")[2]


def test_a_run_at_work_has_running_ones_and_a_pace() -> None:
    cases = [case(number) for number in range(1, 8)]
    results = {number: Result(number, 1, 90.0, 5.0, status=0) for number in (1, 2)}
    stands = stand(7, results, [session(1, started=80.0, alive=True, running=(3, 4))], 100.0)
    summary = summarize(cases, results, 20.0, running=stands.running, going=True)
    assert summary_lines(summary, str, plain)[0] == "7 scripts in 20 s: 2 succeeded, 2 running, 3 to go"
    again = {**results, 3: Result(3, 1, 70.0, 5.0, error=INTERRUPTED)}  # by an earlier session
    summary = summarize(cases, again, 20.0, running=stands.running, going=True)
    assert summary_lines(summary, str, plain)[:1] == ["7 scripts in 20 s: 2 succeeded, 2 running, 3 to go"]
    counts = counts_of(stands, cases, 100.0)
    assert (counts.waiting, counts.running, counts.ages, counts.oldest) == (3, 2, (20.0, 20.0), "/p/case3/script.py")
    assert rate_of(stands, results, 100.0) == 0.2 and rate_of(stands, {}, 100.0) is None
    assert pace_lines(counts, 0.2) == ["15 s left, 12/min"], "those at work have taken their time already"
    assert pace_lines(counts, None) == pace_lines(replace(counts, waiting=0), 0.2) == []


def test_a_summary() -> None:
    cases = [case(number) for number in range(1, 10)]
    results = {number: Result(number, 1, 1.0, float(number), 2.0, None, 0) for number in (1, 2, 3)}
    results[3] = Result(3, 1, 1.0, 3.0, 2.0, 1_200_000_000, 0)
    for number in (4, 5, 6, 7):
        results[number] = failed(number, "ValueError: bad", seconds=0.5)[1]
    results[8] = Result(8, 1, 1.0, 99.0, error=INTERRUPTED)
    lines = summary_lines(summarize(cases, results, 75.0), lambda path: path.removeprefix("/p/"), plain)
    assert lines == [
        "9 scripts in 1 min 15 s: 3 succeeded, 4 failed, 1 interrupted, 1 not run (CPU 6.0 s)",
        "  interrupted: case8/script.py",
        "  4 × exit 1: ValueError: bad",
        "      case4/script.py, case5/script.py, case6/script.py and 1 more",
        "slowest: case3/script.py 3.0 s, case2/script.py 2.0 s, case1/script.py 1.0 s",
        "largest: case3/script.py 1.2 GB",
    ]


def session(
    number: int, *, started: float, ended: str = "", alive: bool = False, running: tuple[int, ...] = (), writer: str = "local"
) -> SessionState:
    finished = started + 10 if ended else 0.0
    since = dict.fromkeys(running, started)
    return SessionState(writer, number, this_process(), 2, started, (), 5.0, since, ended, finished, alive, began=started)


@pytest.mark.parametrize(
    ("results", "sessions", "state"),
    [
        ({}, [], "planned"),
        ({}, [session(1, started=80.0, alive=True)], "running"),
        ({1: 0}, [session(1, started=80.0)], "lost"),
        ({1: 0}, [session(1, started=80.0, ended="interrupted")], "interrupted"),
        ({1: 0}, [session(1, started=80.0, ended="drained")], "stopped"),
        ({1: 0, 2: 1}, [session(1, started=80.0, ended="done")], "done"),
        ({1: 0, 2: 1}, [session(1, started=50.0), session(2, started=80.0, ended="done")], "done"),
        ({1: 0}, [session(1, started=50.0, ended="drained"), session(2, started=80.0)], "lost"),
        # shares that went on with what one process began, and the other way round
        ({1: 0}, [session(1, started=50.0), session(1, started=80.0, ended="done", writer="share-1-of-2")], "stopped"),
        ({1: 0}, [session(1, started=50.0, writer="share-1-of-2"), session(1, started=80.0, ended="interrupted")], "interrupted"),
        ({1: 0}, [session(1, started=50.0, ended="done", writer="share-1-of-2"), session(1, started=80.0)], "lost"),
    ],
)
def test_the_state_of_a_run(results: dict[int, int], sessions: list[SessionState], state: str) -> None:
    read = {number: Result(number, 1, 90.0, status=status) for number, status in results.items()}
    assert stand(2, read, sessions, 100.0).state == state


def test_what_runs_and_for_how_long() -> None:
    sessions = [session(1, started=0.0, ended="drained"), session(2, started=5.0, alive=True, running=(3, 4))]
    results = {2: Result(2, 1, 9.0, status=0), 1: Result(1, 1, 1.0, status=1), 5: Result(5, 1, 1.0, error=INTERRUPTED)}
    found = stand(5, results, sessions, 30.0)
    assert (found.succeeded, found.failed, found.left, found.running, found.seconds) == (1, 1, 3, {3: 5.0, 4: 5.0}, 30.0)
    assert (found.heard, stand(5, results, sessions[:1], 30.0).heard) == (30.0, 25.0)


def test_the_command_as_it_was_typed() -> None:
    assert command_text(["/x/sharedenv/__main__.py", "run", "case*/s.py"]) == "sharedenv run 'case*/s.py'"
    assert len(command_text(["/x/sharedenv", "run", *["name"] * 100])) == 100


def test_status_of_runs(project: Project) -> None:
    project.copies(3, body="import os, sys; sys.exit(os.getcwd().endswith('2') and 'no data')")
    assert "no pool" in project.call("status", status=2).stderr
    project.call("build", "case*/script.py")
    assert "no run" in project.call("status", status=2).stderr
    project.call("run", "case*/script.py", "--timeout", "60", status=1)
    project.call("run", "case1/script.py")
    first, second = (line.split() for line in project.call("status", "--all").stdout.splitlines()[1:])
    assert (first[1], first[2]) == ("done", "1/1")
    assert (second[1], second[2], second[3]) == ("done", "3/3", "1")
    told = project.call("status", second[0]).stdout
    assert f"run {second[0]}: done, 1 of 3 scripts failed, " in told
    assert "1 × exit 1: no data" in told
    assert f"to go on: sharedenv run --retry-failed --run-id {second[0]}\n" in told
    document = json.loads(project.call("status", second[0], "--json").stdout)
    assert (document["schema"], document["state"], document["failed"], document["left"]) == (1, "done", 1, 0)
    assert document["failures"][0]["stderr"] == "no data"
    assert [run["id"] for run in json.loads(project.call("status", "--all", "--json").stdout)["runs"]] == [first[0], second[0]]
    assert "no run 'x'" in project.call("status", "x", status=2).stderr


@pytest.mark.parametrize("name", ["plan.jsonl", "results-local.1.jsonl"])
def test_a_run_that_lost_a_file_is_named_and_hinders_no_other(project: Project, name: str) -> None:
    """What cleans a scratch disk by age takes single files."""
    project.copies(2, body="raise SystemExit('no')")
    project.call("run", "case*/script.py", status=1)
    project.call("run", "case1/script.py", status=1)
    newest, older = (line.split()[0] for line in project.call("status", "--all").stdout.splitlines()[1:])
    file = project.pool / "runs" / newest / name
    file.unlink()
    if name.startswith("results"):
        file.mkdir()  # a file that can't be read, root or not
    for command in (["status"], ["status", "--json"], ["run", "--resume"], ["cancel"]):
        told = project.call(*command, status=1)
        assert f"run {newest} can't be read" in (told.stdout if "--json" in command else told.stderr)
    assert "2 scripts" in project.call("status", older).stdout
    listed = project.call("status", "--all")
    assert older in listed.stdout
    if name != "plan.jsonl":  # which is not read for the list
        assert f"warning: run {newest} can't be read: it is a folder" in listed.stderr
    assert "2 to run" in project.call("run", "--retry-failed", "case*/script.py", status=1).stderr
    assert "1 failed" in project.call("run", "case1/script.py", status=1).stderr
    for odd in ("x" * 300, f"{older}/plan.jsonl"):
        assert "no run" in project.call("status", odd, status=2).stderr


def test_scripts_by_how_they_ended_are_listed_for_other_programs(project: Project) -> None:
    for name in ("-x/s.py", "a\nb/s.py", "ok/s.py"):
        project.script(name, body="import os, sys; sys.exit(not os.getcwd().endswith('ok'))")
    project.call("run", "./*/s.py", status=1)
    failed = project.call("status", "--list", "failed", "-0").stdout
    assert sorted(failed.split("\0")) == ["", "./-x/s.py", "a\nb/s.py"]
    assert project.call("status", "--list", "succeeded", cwd=project.path / "ok").stdout == "s.py\n"
    assert project.call("status", "--list", "not-run").stdout == ""
    again = subprocess.run(
        ["sharedenv", "run", "--from-file", "-", "-0"], input=failed, env={**project.env, "PATH": f"{project.command}:{os.environ['PATH']}"},
        cwd=project.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "2 scripts" in again.stderr and "2 failed" in again.stderr
    assert "give one of them" in project.call("status", "--list", "failed", "--all", status=2).stderr
    assert "--list failed -0" in project.call("status", "-0", status=2).stderr
    # a variable that is set for another command contradicts nothing
    name = project.call("status", "--all").stdout.splitlines()[1].split()[0]
    everywhere = {"SHAREDENV_ALL": "1", "SHAREDENV_NULL": "1", "SHAREDENV_LIST": "failed"}
    assert f'"id": "{name}"' in project.call("status", name, "--json", env=everywhere).stdout
    assert "2 failed" in project.call("run", "./*/s.py", env=everywhere, status=1).stderr


def test_a_result_that_lacks_something_is_passed_over(project: Project) -> None:
    project.copies(1)
    project.call("run", "case1/script.py")
    (file,) = (project.pool / "runs").glob("*/results-local.1.jsonl")
    with file.open("a") as lines:
        lines.write('{"attempt":1,"sequence":1}\n')
    assert "1 succeeded" in project.call("status").stdout
    assert "1/1" in project.call("status", "--all").stdout


def test_twenty_thousand_results_are_read_quickly(tmp_path: Path) -> None:
    cases = [Case(number, f"{tmp_path}/case{number}/script.py", (), "k" * 64, "d" * 64) for number in range(1, 20_001)]
    run = create_run(str(tmp_path / ".sharedenv/runs"), cases)
    writing = run.begin()
    for number in range(1, 20_001):
        writing.append(Result(number, 1, 1e9, 1.0, 1.0, None, 0, 0, "node1"))
    writing.close("done")
    before = time.process_time()
    read, sessions = run.read()
    found = stand(len(run.cases()), read, sessions, time.time())
    assert found.succeeded == 20_000
    assert time.process_time() - before < 5.0  # about 0.3 s on a quiet machine; a quadratic reader takes minutes


def test_a_run_whose_record_is_damaged_or_gone_is_told(project: Project) -> None:
    """Nobody who looks in the morning is to take the run before for the last one."""
    project.copies(1)
    project.call("run", "case1/script.py")
    [good] = (project.pool / "runs").iterdir()
    for name, break_it in (("29990101-000001", lambda path: path.write_text('{"comm')), ("29990101-000002", Path.unlink)):
        shutil.copytree(good, good.with_name(name))
        break_it(good.with_name(name) / "run.json")
    shutil.copytree(good, good.with_name("19990101-000000"))
    (good.with_name("19990101-000000") / "run.json").unlink()
    (good.with_name("notes")).mkdir()
    told = project.call("status")
    assert f"run {good.name}: done" in told.stdout
    damaged, gone = told.stderr.splitlines()
    assert damaged.startswith("warning: run 29990101-000001 can't be read: run.json is damaged: ")
    assert gone.startswith("warning: run 29990101-000002 can't be read: No such file or directory: ")
    assert gone.endswith("/run.json")
    assert project.call("status", "29990101-000002", status=1).stderr.startswith("error: run 29990101-000002 can't be read\n  cause: No such file")
    assert len(json.loads(project.call("status", "--all", "--json").stdout)["errors"]) == 3
    assert "notes" not in project.call("status", "--all").stderr
    assert project.call("cancel").stderr.splitlines()[:2] == [damaged, gone]
