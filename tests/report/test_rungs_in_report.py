"""What a report tells of rungs of memory and time, and what it says they should be the next time."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import Array, How, create_array, note_jobs, writer_of
from sharedenv.cluster.climbed import RungUse, climbed
from sharedenv.cluster.rising import mark
from sharedenv.cluster.rungs import MEMORY, REST, TIME, Allowance, Rung
from sharedenv.report.html.advice import advise
from sharedenv.report.html.document import document
from sharedenv.report.html.rungs import rung_rows
from sharedenv.report.words import count
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.journal.runs import create_run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.measures import measure
from tests.report.test_report import measured

GB = 10**9
LADDER = (Allowance("4G", "1:00:00"), Allowance("8G", "4:00:00"))


def use(
    place: int, limits: Allowance, attempts: list[Result], *, memory: tuple[int, ...] = (), seconds: tuple[int, ...] = (), rest: tuple[int, ...] = ()
) -> RungUse:
    """A rung of two tasks of two slots each."""
    rung = Rung(place, 2, 1, 60, limits)
    sessions = tuple(SessionState(f"worker.{place}.{task}.x", 1, None, 2, 0.0, (), 0.0, {}, "done", 9e3, False) for task in (1, 2))
    short = {MEMORY: frozenset(memory), TIME: frozenset(seconds), REST: frozenset(rest)}
    return RungUse(Array(f"/p/{place}", (), 2, How(), str(40 + place), rung=rung), rung, tuple(attempts), sessions, short, begun=True)


def ended(sequence: int, seconds: float, memory: int | None, *, status: int = 0, signal: int = 0, error: str = "") -> Result:
    return Result(sequence, 1, 0.0, seconds, seconds, memory, -1 if signal or error else status, signal, "node1", error=error)


def told(ladder: list[RungUse], option: str) -> tuple[str, str]:
    return {one.option: (one.value, one.reason) for one in advise(measured(40), ladder)}[option]


FIRST = [*(ended(number, 1200.0, GB) for number in range(1, 9)), ended(9, 600.0, 4 * GB, signal=9), ended(10, 3500.0, GB, error=INTERRUPTED)]
SECOND = [ended(9, 1800.0, 5 * GB), ended(10, 7000.0, None)]


def test_a_table_of_rungs_and_what_each_should_have() -> None:
    first = [*FIRST, ended(11, 5.0, GB, status=1), ended(12, 5.0, GB, error=INTERRUPTED)]
    ladder = [use(1, LADDER[0], first, memory=(9,), seconds=(10,), rest=(13, 14)), use(2, LADDER[1], SECOND)]
    assert rung_rows(ladder) == (
        ["", "rung 1", "rung 2"],
        [
            ["memory", "4G", "8G"],
            ["time", "1:00:00", "4:00:00"],
            ["job", "41", "42"],
            ["scripts begun", "12", "2"],
            ["succeeded", "8", "2"],
            ["killed where memory ran out", "1", "0"],
            ["cut off at the time limit", "1", "0"],
            ["left, since their tasks had to end", "2", "0"],
            ["failed otherwise", "1", "0"],
            ["lost or cancelled", "1", "0"],
            ["longest that succeeded", "20 min 0 s", "1 h 56 min"],
            ["largest that succeeded", "1.0 GB", "5.0 GB"],
        ],
    )
    assert told(ladder, "--mem") == (
        "3G,6G",
        "rung 1, enough for 8: the 2 largest together took 2.0 GB; rung 2, enough for 2: the 1 largest together took 5.0 GB",
    )
    assert told(ladder, "--time") == (
        "1:00:00,2:26:00",
        "rung 1, enough for 8: 3 h 48 min of scripts on 4 slots, the longest 20 min 0 s; "
        "rung 2, enough for 2: 2 h 26 min of scripts on 4 slots, the longest 1 h 56 min",
    )


def test_a_rung_that_was_too_little_for_most_is_left_out() -> None:
    first = [ended(1, 60.0, GB), *(ended(number, 60.0, 4 * GB, signal=9) for number in range(2, 6))]
    second = [ended(number, 60.0, 3 * GB) for number in range(2, 6)]
    ladder = [use(1, Allowance("4G", None), first, memory=(2, 3, 4, 5)), use(2, Allowance("8G", None), second)]
    value, reason = told(ladder, "--mem")
    assert (value, reason) == ("7G", "rung 1 was too little for 4 of 5; rung 2, enough for 4: the 2 largest together took 6.0 GB")
    assert told(ladder, "--time")[0] == "0:01:00", "one limit of time for all"


@pytest.mark.parametrize(
    ("second", "memory", "value"),
    [
        ([ended(9, 60.0, 6 * GB)], (10,), "3G,7G,16G"),
        ([], (9, 10), "3G,16G"),  # it was enough for none
        ([ended(9, 60.0, None)], (), "3G,8G"),  # what it took isn't known
        ([ended(9, 60.0, GB)], (), "3G"),  # both values come to the same
    ],
)
def test_what_the_last_rung_should_have(second: list[Result], memory: tuple[int, ...], value: str) -> None:
    ladder = [use(1, Allowance("4G", None), FIRST[:8], memory=(9,)), use(2, Allowance("8G", None), second, memory=memory)]
    found = told(ladder, "--mem")
    assert found[0] == value
    assert (f"8G was too little for {count(len(memory), 'script')}, too" in found[1]) == bool(memory)


def test_what_is_less_than_a_gigabyte() -> None:
    """Never more than a rung had that was enough, but on the last."""
    ladder = [
        use(1, Allowance("100M", None), [ended(1, 1.0, 60_000_000), ended(2, 1.0, 60_000_000)], memory=(3,)),
        use(2, Allowance("250M", None), [ended(3, 1.0, 150_000_000)]),
    ]
    assert told(ladder, "--mem")[0] == "100M,180M"


def test_without_rungs_it_says_the_same_as_ever() -> None:
    assert advise(measured(40), []) == advise(measured(40))
    assert "each rung" not in document([measured(40)], lambda case: case.script)


def test_rungs_are_told_from_what_the_tasks_have_noted(tmp_path: Path) -> None:
    """No Slurm answers: what was taken over tells of the first, the notes of its tasks of the last."""
    cases = [Case(number, f"{tmp_path}/case{number}/script.py", (), "k" * 64) for number in range(1, 9)]
    run = create_run(str(tmp_path / ".sharedenv/runs"), cases)
    arrays = [
        note_jobs(create_array(run, place, cases if place == 1 else (), 1, How(), rung=Rung(place, 2, 1, 60, limits)), str(10 * place), "")
        for place, limits in enumerate((Allowance("1G", None), Allowance("2G", None)), 1)
    ]
    now = time.time() - 100
    begins = itertools.count(now)

    def work(place: int, *results: Result, ended: str = "done", running: tuple[int, ...] = ()) -> None:
        writing = run.join(writer_of(place, 1, 0) + os.urandom(2).hex(), 2, ())
        for result in results:
            writing.append(result)
        if running:
            writing.write({"started": [[number, 4000 + number] for number in running], "time": now + 50})
        if ended:
            writing.close(ended)
        path, pid = Path(writing.path), os.getpid() if ended else 4194303  # who is dead
        first, rest = path.read_text().split("\n", 1)
        first = json.dumps({**json.loads(first), "began": next(begins), "owner": {**json.loads(first)["owner"], "pid": pid}})
        path.write_text(f"{first}\n{rest}")

    def result(sequence: int, at: float, *, status: int = 0, signal: int = 0) -> Result:
        return Result(sequence, 1, now + at, 2.0, 1.0, GB, -1 if signal else status, signal, "node1")

    work(1, result(1, 1), result(2, 2, status=3), result(3, 3, signal=9), result(4, 4, signal=9))
    work(1, result(5, 1), ended="", running=(6,))  # lost with its node
    (Path(arrays[1].path) / "rung.json").write_text('{"memory":[3,4],"time":[],"rest":[7],"undone":2}')
    work(2, result(3, 20), result(4, 22, signal=9), result(7, 22))
    (Path(arrays[1].path) / mark(MEMORY, 1, 0)).touch()
    one = measure(run)
    [ladder] = climbed(one, {"PATH": ""})
    assert [{why: set(some) for why, some in each.short.items()} for each in ladder] == [
        {MEMORY: {3, 4}, TIME: set(), REST: {7}}, {MEMORY: {4}, TIME: set(), REST: set()},
    ]  # fmt: skip
    assert [(set(each.tried), set(each.done), {bad.sequence for bad in each.bad}) for each in ladder] == [
        ({1, 2, 3, 4, 5, 6}, {1, 5}, {2, 6}), ({3, 4, 7}, {3, 7}, set()),
    ]  # fmt: skip
    text = document([one, one], lambda case: case.script, [[ladder], []])
    assert text.count("<h3>What each rung of memory and time was enough for</h3>") == 1
    assert '<th scope="row">time</th>' not in text, "it was not asked for"
    for row in ("<th scope=\"row\">memory</th><td>1G</td><td>2G</td>", "<th scope=\"row\">job</th><td>10</td><td>20</td>", "<th scope=\"row\">killed where memory ran out</th><td>2</td><td>1</td>"):
        assert row in text
    assert re.findall(r">--mem</th><td>([^<]*)</td>", text) == ["1G,2G,4G", "3G"]
    assert climbed(measured(3), {"PATH": ""}) == []


def test_a_run_of_which_each_was_begun_did_not_end_before_every_script_was_run() -> None:
    """The state is `stopped` where one was cut off, too."""
    one = measured(40, failing=3)
    cut = {**one.results, 40: Result(40, 1, 1e9, error=INTERRUPTED)}
    stopped = replace(one, results=cut, standing=replace(one.standing, state="stopped", succeeded=one.standing.succeeded - 1))
    assert "<p>stopped: of 40 scripts, 3 failed, 1 was cut off</p>" in document([stopped], lambda case: case.script)
    del cut[39]
    assert "<p>stopped: it ended before every script was run</p>" in document([stopped], lambda case: case.script)
