"""A run's folder: what is written comes back, whatever was torn; two never have it at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.app.needs import unfinished_needs
from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.pool.owner import STALE, Owner, lives, this_process
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.journal import writer as writers
from sharedenv.run.journal.records import decode_lines, decode_plan, decode_result, encode_plan, encode_result
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import create_run, list_runs, open_run
from sharedenv.run.journal.standing import stand
from sharedenv.run.journal.writer import Session

KEY = "a" * 64
names = st.binary(min_size=1, max_size=20).map(lambda data: os.fsdecode(data.replace(b"\0", b"0").replace(b"/", b"_")))


@st.composite
def case_lists(draw: st.DrawFn) -> list[Case]:
    folders = st.sampled_from(["/p", "/p/q", "/elsewhere", "/pp"])
    count = draw(st.integers(0, 5))
    return [
        Case(
            number + 1,
            draw(folders) + "/" + draw(names),
            tuple(draw(st.lists(names, max_size=2))),
            draw(st.sampled_from([KEY, "b" * 64])),
            draw(st.sampled_from(["", "c" * 64])),
            draw(st.sampled_from([None, "/p", "/x y"])),
        )
        for number in range(count)
    ]


@given(case_lists(), st.lists(names, max_size=2), st.sampled_from([None, "/x y"]))
def test_a_plan_comes_back_as_it_was(cases: list[Case], arguments: list[str], cwd: str | None) -> None:
    data = b"".join(encode_plan(cases, "/p", arguments, cwd))
    assert data.isascii()
    assert list(decode_plan([data], "/p", arguments, cwd)) == cases


@given(
    st.builds(
        Result,
        sequence=st.integers(1, 10**6),
        attempt=st.integers(1, 9),
        start=st.integers(0, 2**41).map(lambda thousandths: thousandths / 10**3),
        seconds=st.integers(0, 10**10).map(lambda ten_thousandths: ten_thousandths / 10**4),
        cpu=st.integers(0, 10**10).map(lambda ten_thousandths: ten_thousandths / 10**4),
        memory=st.none() | st.integers(0, 2**50),
        status=st.integers(-1, 255),
        signal=st.integers(0, 64),
        host=names,
        error=names | st.just(""),
        tail=names | st.just(""),
        digest=st.sampled_from(["", "d" * 64]),
        output=st.integers(0, 2**50),
        environment=st.sampled_from(["", "0123456789ab-3"]),
        versions=st.just(""),
    )
)
def test_a_result_comes_back_as_it_was(result: Result) -> None:
    line = encode_result(result, environment=result.environment)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert decode_result(json.loads(line), {}) == result


@given(st.integers(0, 400))
def test_a_file_torn_anywhere_gives_every_whole_line(where: int) -> None:
    lines = [encode_result(Result(number, 1, 1.0)) for number in range(1, 4)]
    data = b"".join(lines)
    where = min(where, len(data))
    whole = data[:where].count(b"\n") + (where < len(data) and data[where : where + 1] == b"\n")
    assert len(list(decode_lines(data[:where]))) == whole
    # a writer that finds its line torn starts a new one
    assert [record["sequence"] for record in decode_lines(data[:where] + b"\n" + lines[2])][-1] == 3


def make(tmp_path: Path, count: int = 3) -> Run:
    cases = [Case(number, str(tmp_path / f"case{number}/s.py"), (), KEY, "d" * 64) for number in range(1, count + 1)]
    return create_run(str(tmp_path / ".sharedenv" / "runs"), cases, command=["sharedenv", "run"])


def test_a_run_is_found_again(tmp_path: Path) -> None:
    run = make(tmp_path)
    runs = os.path.dirname(run.path)
    assert open_run(runs, run.id) == run
    assert [case.script for case in run.cases()] == [str(tmp_path / f"case{number}/s.py") for number in (1, 2, 3)]
    assert run.results() == {}
    assert os.listdir(runs) == [run.id]
    with pytest.raises(SharedenvError, match="no run 'x' in"):
        open_run(runs, "x")
    with pytest.raises(SharedenvError):
        open_run(runs, "../runs/" + "nothing")


def test_runs_of_one_second_have_names_of_their_own(tmp_path: Path) -> None:
    runs = str(tmp_path / ".sharedenv" / "runs")
    made = [create_run(runs, [Case(1, "/s.py")], now=1e9 + part) for part in (0.0, 0.1, 0.2)]
    assert len({run.id for run in made}) == 3
    assert [run.id for run in list_runs(runs)] == [run.id for run in reversed(made)]


def test_a_moved_project_finds_its_scripts_again(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    run = make(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = open_run(str(tmp_path / "there/.sharedenv/runs"), run.id)
    assert moved.cases()[0].script == str(tmp_path / "there/case1/s.py")


def test_the_last_result_of_a_case_counts(tmp_path: Path) -> None:
    run = make(tmp_path)
    session = run.begin()
    session.append(Result(1, 1, 10.0, status=1))
    session.append(Result(1, 2, 11.0, status=0))
    session.append(Result(2, 1, 10.0, status=0))
    session.close("done")
    session = run.begin()
    session.append(Result(2, 1, 20.0, status=5))
    session.close("done")
    results = run.results()
    assert (results[1].attempt, results[1].succeeded) == (2, True)
    assert results[2].status == 5
    assert 3 not in results


def test_a_clock_that_was_set_back_makes_no_old_result_the_last(tmp_path: Path) -> None:
    """Of one writer the order of the lines decides: what had been tried again with success stood as failed, and ran for ever."""
    run = make(tmp_path)
    session = run.begin()
    session.append(Result(1, 1, 5000.0, status=1))
    session.append(Result(2, 1, 5000.0, status=1))
    session.append(Result(1, 2, 1400.0, status=0))
    session.close("stopped")
    session = run.begin(again=[2])
    assert set(run.results()) == {1}
    session.append(Result(2, 1, 1500.0, status=0))
    assert all(result.succeeded for result in run.results().values())
    session.close("done")
    assert sorted(run.results()) == [1, 2]
    assert all(result.succeeded for result in run.results().values())


def test_whether_a_run_has_ended_is_told_by_the_ends_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """prune asks it of every run that the pool ever had: 200 of 20,000 cases took it a minute."""
    run = make(tmp_path)
    assert not run.has_ended()
    session = run.begin(writer="1-1")
    session.append(Result(1, 1, 1.0, status=1, tail='{"ended":"done"}'))
    assert not run.has_ended()
    other = run.begin(writer="1-2")
    session.close("done")
    assert not run.has_ended()
    assert set(unfinished_needs(Layout(str(tmp_path / ".sharedenv"))).keys) == {KEY}
    other.close("drained: a script failed")
    assert run.has_ended()
    monkeypatch.setattr(Run, "read", lambda _: pytest.fail("it reads what there is no need to"))
    assert unfinished_needs(Layout(str(tmp_path / ".sharedenv"))).keys == {}


def test_cases_added_later_go_on_from_the_plan(tmp_path: Path) -> None:
    run = make(tmp_path)
    session = run.begin()
    run.extend([Case(4, str(tmp_path / "case4/s.py"), (), KEY, "e" * 64)])
    run.extend([Case(5, "/elsewhere/s.py", ("x",), KEY, "e" * 64)])
    session.close("done")
    assert run.count == 5
    assert [case.sequence for case in run.cases()] == [1, 2, 3, 4, 5]
    assert run.cases()[4] == Case(5, "/elsewhere/s.py", ("x",), KEY, "e" * 64)


def test_two_at_once_on_one_run_are_refused(tmp_path: Path) -> None:
    run = make(tmp_path)
    first = run.begin()
    with pytest.raises(SharedenvError, match=f"process {os.getpid()} on"):
        run.begin()
    other = run.begin(writer="17")  # an array task is a writer of its own
    other.close("done")
    first.close("done")
    run.begin().close("done")
    assert [(state.writer, state.number, state.alive, state.ended) for state in run.sessions()] == [
        ("local", 1, False, "done"), ("17", 1, False, "done"), ("local", 2, False, "done"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "other", "refused"),
    [
        ("local", "share-1-of-2", True),
        ("share-1-of-2", "local", True),
        ("share-1-of-2", "share-1-of-2", True),
        ("share-1-of-2", "share-2-of-2", False),
        ("share-1-of-2", "share-1-of-3", True),  # what one has may be what the other has
        ("1-1", "local", False),  # the queue tells of tasks
        ("1-1", "share-1-of-2", False),
        ("1-1", "1-2", False),
    ],
)
def test_writers_that_may_have_the_same_cases_are_not_at_work_at_once(tmp_path: Path, first: str, other: str, refused: bool) -> None:
    run = make(tmp_path)
    session = run.begin(writer=first)
    if refused:
        with pytest.raises(SharedenvError, match="is at work"):
            run.begin(writer=other)
        session.close("done")
        with pytest.raises(SharedenvError, match="has gone on with run"):
            run.begin(writer=other, known=())
    else:
        run.begin(writer=other, known=()).close("done")
        session.close("done")


def test_a_run_whose_process_died_is_free_at_once(tmp_path: Path) -> None:
    run = make(tmp_path)
    code = (
        "import os, sys\nfrom sharedenv.run.journal.runs import open_run\nfrom sharedenv.run.case import Result\n"
        f"s = open_run({os.path.dirname(run.path)!r}, {run.id!r}).begin()\ns.append(Result(1, 1, 1.0, status=0))\nos.kill(os.getpid(), 9)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == -9
    (state,) = run.sessions()
    assert (state.alive, state.ended) == (False, "")
    assert run.results()[1].succeeded
    run.begin().close("done")


def test_elsewhere_silence_decides() -> None:
    here = this_process()
    assert lives(here, silence=STALE * 10)
    assert not lives(replace(here, start="1"), silence=0.0)
    elsewhere = Owner("node7", "another boot", here.pid, here.start)
    assert lives(elsewhere, silence=STALE - 1)
    assert not lives(elsewhere, silence=STALE + 1)


def test_of_many_that_want_a_run_one_gets_it(tmp_path: Path) -> None:
    run = make(tmp_path)
    code = (
        "import sys, time\nfrom sharedenv.run.journal.runs import open_run\nfrom sharedenv.errors import SharedenvError\n"
        f"run = open_run({os.path.dirname(run.path)!r}, {run.id!r})\nsys.stdin.read()\n"
        "try: run.begin()\nexcept SharedenvError: print('no')\nelse: print('yes')\nsys.stdout.flush(); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    said = [process.stdout.readline().strip() for process in started if process.stdout is not None]
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert sorted(said) == ["no"] * 5 + ["yes"]


def test_what_runs_is_known_at_any_instant(tmp_path: Path) -> None:
    run = make(tmp_path)
    session = run.begin(jobs=2)
    session.start(1, 4711)
    session.start(2, 4712)
    (state,) = run.sessions()
    assert (list(state.running), state.groups, state.jobs, state.alive) == ([1, 2], {1: 4711, 2: 4712}, 2, True)
    assert abs(state.running[1] - time.time()) < 60
    session.start(3, 4713, result_follows=True)  # in the place of case 1, whose result tells it
    session.append(Result(1, 1, 1e9, 5.0, status=0))
    assert run.sessions()[0].running == {2: state.running[2], 3: 1e9 + 5.0}
    session.append(Result(2, 1, 1e9, 5.0, status=0))
    session.append(Result(3, 1, 1e9, 5.0, status=0))
    session.close("done")
    assert (run.sessions()[0].running, run.sessions()[0].groups) == ({}, {})
    assert len(Path(session.path).read_bytes().splitlines()) == 7


def lost_session(run: Run, code: str) -> None:
    """A process that takes the run as ``s``, does what ``code`` says and is killed."""
    head = (
        "import os, time\nfrom sharedenv.run.journal.runs import open_run\nfrom sharedenv.run.case import Result\n"
        f"run = open_run({os.path.dirname(run.path)!r}, {run.id!r})\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    killed = subprocess.run([sys.executable, "-c", head + code + "\nos.kill(os.getpid(), 9)"], env=env, check=False)
    assert killed.returncode == -9


def test_what_a_lost_session_had_started_is_interrupted(tmp_path: Path) -> None:
    run = make(tmp_path)
    lost_session(run, "s = run.begin()\ns.start(1, 5)\ns.start(2, 6)\ns.start(3, 7, result_follows=True)\ns.append(Result(1, 1, time.time(), status=0))")
    results = run.results()
    assert (results[1].succeeded, results[2].interrupted, results[3].interrupted) == (True, True, True)
    # an outcome of before says nothing of the folder that the second attempt has left
    session = run.begin()
    session.append(Result(2, 1, time.time(), status=1))
    session.close("done")
    assert not run.results()[2].interrupted
    lost_session(run, "time.sleep(0.01)\ns = run.begin(again=[2])\ns.start(2, 6)")
    assert run.results()[2].interrupted
    # a later one counts again
    session = run.begin()
    session.append(Result(2, 1, time.time(), status=0))
    session.close("done")
    assert run.results()[2].succeeded


def test_what_is_run_again_has_no_result_meanwhile(tmp_path: Path) -> None:
    run = make(tmp_path)
    session = run.begin()
    for number in (1, 2, 3):
        session.append(Result(number, 1, time.time(), status=1))
    session.close("done")
    time.sleep(0.01)
    session = run.begin(again=[1, 2])
    assert list(run.results()) == [3]
    session.append(Result(1, 1, time.time(), status=1))
    session.start(1, 4711)  # its second attempt
    assert list(run.results()) == [3]
    session.close("interrupted")
    assert sorted(run.results()) == [1, 2, 3]


def test_what_another_process_has_gone_on_with_meanwhile_is_chosen_anew(tmp_path: Path) -> None:
    """Of two --resume at once, the second read what was left before the first had run it."""
    run = make(tmp_path)
    known = run.sessions()
    first = run.begin(known=known)
    first.append(Result(1, 1, time.time(), status=0))
    first.close("done")
    with pytest.raises(SharedenvError, match="another process has gone on with run"):
        run.begin(known=known)
    run.begin(known=run.sessions()).close("done")
    run.begin(writer="1-17", known=[]).close("done")  # a task has cases of its own


@pytest.mark.parametrize("ahead", [90.0, -90.0])
def test_clocks_of_nodes_may_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    """Of a session on another node its file tells, by the file system's clock."""
    run = make(tmp_path)
    session = run.begin()
    session.append(Result(1, 1, time.time(), status=0))
    path = Path(session.path)
    here = this_process().machine
    path.write_text(path.read_text().replace(here, "another machine"))
    monkeypatch.setattr(time, "time", lambda real=time.time: real() + ahead)
    assert run.sessions()[0].alive
    os.utime(path, (path.stat().st_mtime - 70, path.stat().st_mtime - 70))
    assert not run.sessions()[0].alive
    os.utime(path, (path.stat().st_mtime + 86400, path.stat().st_mtime + 86400))  # nobody who lives leaves it so
    assert not run.sessions()[0].alive
    session.close("done")


@pytest.mark.parametrize(
    "line",
    [
        '{"ended":5}', '{"started":{"a":1}}', '{"started":[4],"time":"x"}', '{"started":[[4,"x"],[[4],4],7]}', '{"attempt":1,"sequence":"a"}', '{"owner":{"pid":"x"}}',
        '{"owner":5}', "[" * 100_000, '{"sequence":1,"attempt":1,"start":"x","seconds":1}', "\0\0\0", '{"ended":"done","time":1e9}{',
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 1, 99])
def test_a_damaged_line_is_passed_over(tmp_path: Path, line: str, place: int) -> None:
    run = make(tmp_path)
    session = run.begin()
    session.append(Result(1, 1, 1.0, status=0))
    session.append(Result(2, 1, 1.0, status=1))
    path = Path(session.path)
    lines = path.read_text().splitlines()
    lines.insert(place, line)
    path.write_text("\n".join(lines) + "\n")
    results = run.results()
    assert results[1].succeeded and results[2].status == 1
    assert stand(3, *run.read(), time.time()).succeeded == 1
    session.close("done")


def test_a_plan_that_lost_cases_is_an_error(tmp_path: Path) -> None:
    run = make(tmp_path)
    plan = Path(run.path, "plan.jsonl")
    lines = plan.read_bytes().splitlines(keepends=True)
    for left in (b"", lines[0], b"".join(lines[:-1]) + lines[-1][:-5]):
        plan.write_bytes(left)
        with pytest.raises(SharedenvError, match="can't be read") as told:
            run.cases()
        assert re.search(r"its plan is damaged: .*\d of 3 cases", str(told.value.cause))


def test_a_session_that_could_write_nothing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results-local.1.jsonl"
    path.touch()
    session = Session(os.open("/dev/full", os.O_WRONLY | os.O_APPEND), str(path), "/nowhere")
    assert not session.append(Result(1, 1, 1.0))
    assert not session.close("interrupted")
    assert not path.exists()


def test_a_run_taken_by_another_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "HEARTBEAT", 0.01)
    run = make(tmp_path)
    session = run.begin(jobs=2)
    session.keep()
    os.close(os.open(os.path.join(run.path, "results-local.2.jsonl"), os.O_CREAT | os.O_WRONLY))
    end = time.monotonic() + 30
    while time.monotonic() < end and not session.lost:
        time.sleep(0.02)
    assert session.lost
    session.close("done")


def test_a_full_disk_loses_no_result(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY | os.O_APPEND)
    session = Session(full, "/dev/full", "/nowhere")
    assert not session.append(Result(1, 1, 1.0))
    assert not session.append(Result(2, 1, 1.0))
    assert session.error is not None
    assert session.error.strerror == "No space left on device"
    assert len(session.unwritten) == 2
    # there is room again
    path = tmp_path / "results"
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), full)
    assert session.append(Result(3, 1, 1.0))
    assert session.unwritten == []
    session.close("done")
    assert [record.get("sequence") for record in decode_lines(path.read_bytes())] == [1, 2, 3, None]


def test_a_run_that_can_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        create_run(str(tmp_path), [Case(1, "/p/case1/script.py", (), KEY, "d")])
    assert list(tmp_path.iterdir()) == []


def test_what_was_ended_with_the_run_is_no_failure() -> None:
    assert Result(1, 1, 1.0, error=INTERRUPTED).interrupted
    assert not Result(1, 1, 1.0, error=INTERRUPTED).succeeded
    assert not Result(1, 1, 1.0, status=1).interrupted


def test_a_hundred_thousand_cases_are_cheap(tmp_path: Path) -> None:
    cases = [Case(number, f"{tmp_path}/case{number}/script.py", (), KEY, "d" * 64) for number in range(1, 100_001)]
    run = create_run(str(tmp_path / ".sharedenv" / "runs"), cases)
    assert os.path.getsize(os.path.join(run.path, "plan.jsonl")) < 22e6
    assert run.cases()[-1] == cases[-1]


def test_what_thousands_said_when_they_failed_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A night of 100,000 failures leaves 400 MB; status and --resume took 650 MB where a third of them had failed."""
    run = make(tmp_path, 5000)
    session = run.begin()
    tail = "\n".join(["x" * 800] * 4 + ["ValueError: negative density"])
    for case in run.cases():
        session.append(Result(case.sequence, 1, 1.0, status=1, tail=tail))
    session.close("done")
    tracemalloc.start()
    try:
        results, sessions = run.read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert os.path.getsize(session.path) > 16e6
    assert peak < 12e6
    assert {result.tail for result in results.values()} == {"ValueError: negative density"}
    assert [state.ended for state in sessions] == ["done"]
    assert {result.tail for result in run.read(tails=True)[0].values()} == {tail}
