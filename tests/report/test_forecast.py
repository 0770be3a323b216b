"""How long a run has still to go, by how long its cases took before."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sharedenv.app.plan import durations_before
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.output import Output
from sharedenv.report.progress import Rate, parts
from sharedenv.report.running import LONG, Screen
from sharedenv.run.case import Case, Result
from sharedenv.run.forecast import Forecast
from sharedenv.run.journal.runs import create_run
from sharedenv.run.terms import Counts


def forecast(known: dict[int, float], *ended: tuple[int, float]) -> Forecast:
    made = Forecast(known)
    for sequence, seconds in ended:
        made.ended(sequence, seconds)
    return made


@pytest.mark.parametrize(
    ("known", "ended", "running", "waiting", "left"),
    [
        ({1: 10, 2: 10, 3: 10, 4: 30}, [], [(1, 4.0), (2, 4.0)], 2, (6 + 6 + 10 + 30) / 2),
        # this machine takes twice as long as the one of then
        ({1: 10, 2: 10, 3: 10}, [(1, 20.0)], [(2, 5.0)], 1, 15 + 20),
        # one that overruns what it took takes nothing from the others
        ({1: 1, 2: 10, 3: 10}, [], [(1, 500.0), (2, 2.0)], 1, (8 + 10) / 2),
        # all but one are short: that decides
        ({1: 100, 2: 1, 3: 1}, [], [(1, 0.0), (2, 0.0)], 1, 100.0),
        # a case that nobody knows takes as long as those that have ended here
        ({1: 4, 2: 4, 3: 4}, [(1, 4.0), (9, 8.0)], [(2, 0.0)], 2, 4 + 4 + 6),
        # known of less than half: the pace tells more
        ({1: 4, 2: 4}, [], [(1, 0.0)], 9, None),
        ({1: 4, 2: 4}, [], [], 2, None),
    ],
)  # fmt: skip
def test_what_is_left(
    known: dict[int, float], ended: list[tuple[int, float]], running: list[tuple[int, float]], waiting: int, left: float | None
) -> None:
    assert forecast(known, *ended).left(running, waiting) == (None if left is None else pytest.approx(left))


class AtWork:
    """A batch that has been at work for so long; the third of five cases runs, so many wait."""

    going = True

    def __init__(self, seconds: float, waiting: int) -> None:
        self._began, self._waiting = time.monotonic() - seconds, waiting

    def counts(self) -> Counts:
        return Counts(5, 4 - self._waiting, 0, 1, 0, self._began, self._waiting, ages=(1.0,), cases=(Case(3, "/p/c/script.py"),))

    def drain(self, reason: str) -> None:
        raise AssertionError(reason)


class LiveConsole(Console):
    """One on a terminal."""

    __slots__ = ()

    @property
    def live(self) -> bool:
        return True


def test_a_run_that_takes_its_time_asks_once_how_long_its_cases_took(capfd: pytest.CaptureFixture[str]) -> None:
    asked = []

    def known() -> dict[int, float]:
        asked.append(1)
        return {1: 10.0, 2: 10.0, 3: 10.0, 4: 10.0, 5: 600.0}

    screen = Screen(LiveConsole(), Output(None, None), str)
    screen.expect(known)
    screen.ended(Case(1, "/p/a/script.py"), Result(1, 1, 0.0, 10.0, status=0), True)
    screen.tick(AtWork(LONG / 2, 3))
    assert not asked and "min" not in capfd.readouterr().err, "by the pace of late"
    end = time.monotonic() + 60
    while "10 min 29 s left" not in (said := capfd.readouterr().err):  # its own 9, then 10, 10 and 600
        screen.tick(AtWork(LONG + 1, 3))
        assert time.monotonic() < end, said
        time.sleep(0.02)
    screen.ended(Case(2, "/p/b/script.py"), Result(2, 1, 0.0, 20.0, status=0), True)
    while "15 min 29 s left" not in (said := capfd.readouterr().err):  # all take half as long again
        screen.tick(AtWork(LONG + 1, 2))
        assert time.monotonic() < end, said
        time.sleep(0.02)
    assert asked == [1]


def test_what_is_known_is_told_before_anything_has_ended() -> None:
    counts = Counts(5, 0, 0, 2, 0, waiting=3, left=75.0)
    assert parts(counts, Rate(6.0, None)) == ["0 of 5", "2 running", "1 min 15 s left"]
    assert parts(Counts(5, 0, 0, 2, 0, waiting=3), Rate(6.0, None)) == ["0 of 5", "2 running"]


def test_the_last_run_that_knows_most_of_them_is_asked(tmp_path: Path) -> None:
    pool = str(tmp_path / ".sharedenv")
    cases = [Case(number, f"{tmp_path}/case{number}/script.py", (), "k" * 64) for number in range(1, 7)]

    def ran(some: list[Case], seconds: float, now: float, status: int = 0) -> str:
        run = create_run(f"{pool}/runs", some, now=now)
        writing = run.begin()
        for case in some:
            writing.append(Result(case.sequence, 1, now, seconds + case.sequence, 0.0, None, status, 0, "node1"))
        writing.close("done")
        return run.id

    now = time.time()
    ran(cases, 10.0, now - 400)
    ran(cases[:4], 20.0, now - 300)
    ran(cases[:2], 30.0, now - 200)  # it knows too few of them
    ran(cases, 40.0, now - 100, status=1)  # how long a failure took says nothing
    own = ran(cases, 50.0, now)
    assert durations_before(Layout(pool), cases, own) == {1: 21.0, 2: 22.0, 3: 23.0, 4: 24.0}
    moved = [Case(case.sequence + 10, case.script, ("--other",), case.key) for case in cases]
    assert durations_before(Layout(pool), moved, own) == {}
    assert durations_before(Layout(pool), [Case(case.sequence + 10, case.script) for case in cases[2:]], own)[13] == 23.0
