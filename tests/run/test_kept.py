"""Where a run stood when it had ended is kept, and believed only as long as its journal is what it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sharedenv.app.queued import standing_of
from sharedenv.care.prune import run_files
from sharedenv.pool.layout import Layout
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.journal import kept
from sharedenv.run.journal.kept import keep_own
from sharedenv.run.journal.living import going_on
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import create_run, open_run
from sharedenv.run.journal.standing import FEW, Standing
from tests.conftest import Project
from tests.faults import as_nobody, require

COUNT = FEW


def ended(tmp_path: Path, ending: str = "done", count: int = COUNT) -> Run:
    """A run with a failure and, but for the last four cases where it was stopped, a result of each case."""
    cases = [Case(number, str(tmp_path / f"case{number}/s.py"), (), "a" * 64, "d" * 64) for number in range(1, count + 1)]
    run = create_run(str(tmp_path / ".sharedenv" / "runs"), cases, command=["sharedenv", "run"])
    session = run.begin()
    for number in range(1, count - 4 * (ending != "done") + 1):
        session.append(Result(number, 1, time.time(), 0.5, status=int(number == 7), done_before=number == 9))
    session.close(ending)
    return run


def file(run: Run) -> Path:
    return Path(run.path, "standing.json")


def stands(run: Run) -> Standing:
    return standing_of(run, time.time())


def read(run: Run) -> Standing:
    """The same by the journal alone."""
    file(run).unlink(missing_ok=True)
    found = stands(run)
    file(run).unlink(missing_ok=True)
    return found


def same(one: Standing, other: Standing) -> bool:
    """Whether two looks at one run have seen the same; but for what goes by a clock, which goes on between them."""
    facts = [
        (each.state, each.total, each.succeeded, each.failed, each.before, each.running, len(each.alive), 0 if each.alive else each.seconds)
        for each in (one, other)
    ]
    return facts[0] == facts[1]


@pytest.mark.parametrize(("ending", "state"), [("done", "done"), ("interrupted", "interrupted"), ("drained: a script failed", "stopped")])
def test_a_run_that_has_ended_is_read_once(tmp_path: Path, ending: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status --all` over 200 runs of 20,000 cases took 54 s, each time."""
    run = ended(tmp_path, ending)
    first = stands(run)
    assert (first.state, first.failed, first.before) == (state, 1, 1)
    monkeypatch.setattr(Run, "read", lambda _: pytest.fail("it reads what was counted before"))
    monkeypatch.setattr(Run, "_open", lambda *_: pytest.fail("it reads what was counted before"))
    assert stands(run) == first
    assert file(run).stat().st_mode & 0o777 == 0o644


def test_a_killed_process_is_dead_for_good_where_the_kernel_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine it may only be silent."""
    run = ended(tmp_path)
    journal = Path(run.path, "results-local.1.jsonl")
    first, *results, _ = journal.read_text().splitlines()
    record = json.loads(first)
    for machine, believed in ((record["owner"]["machine"], True), ("another boot", False)):
        record["owner"] |= {"machine": machine, "start": "1"}
        journal.write_text("\n".join([json.dumps(record), *results, '{"started":[[8,4711]],"time":1.5}']) + "\n")
        os.utime(journal, (time.time() - 900,) * 2)
        file(run).unlink(missing_ok=True)
        found = stands(run)
        assert (found.state, found.left) == ("lost", 1)
        assert file(run).exists() == believed
    monkeypatch.setattr(kept, "is_here", lambda _: True)
    assert stands(run).state == "lost" and file(run).exists(), "the look above was the one that counted"


def resumed(run: Run) -> None:
    run.begin(again=[7])


def resumed_and_ended(run: Run) -> None:
    session = run.begin(again=[7])
    session.append(Result(7, 2, time.time(), status=0))
    session.close("done")


def joined_late(run: Run) -> None:
    session = run.join("worker.late", 1, ["a" * 64])
    session.start(7, os.getpid())


def spoken_again(run: Run) -> None:
    with Path(run.path, "results-local.1.jsonl").open("a") as stream:
        stream.write('{"started":[[5,4711]]}\n')


def torn(run: Run) -> None:
    path = Path(run.path, "results-local.1.jsonl")
    path.write_bytes(path.read_bytes()[:-30])


def longer(run: Run) -> None:
    run.extend([Case(COUNT + 1, "/elsewhere/s.py", (), "a" * 64, "e" * 64)])


def purged(run: Run) -> None:
    os.unlink(os.path.join(run.path, "results-local.1.jsonl"))


def written_over(run: Run) -> None:
    path = Path(run.path, "results-local.1.jsonl")
    text = path.read_text()
    path.write_text(text.replace('"status":1', '"status":0'))
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [resumed, resumed_and_ended, joined_late, spoken_again, torn, longer, purged, written_over])
@pytest.mark.parametrize("ending", ["done", "interrupted"])
def test_what_the_journal_says_later_counts(tmp_path: Path, change: Callable[[Run], None], ending: str) -> None:
    run = ended(tmp_path, ending)
    before = stands(run)
    assert file(run).exists()
    change(run)
    after = stands(run)
    assert not same(after, before)
    assert same(after, read(run))


def test_an_array_that_was_submitted_since_has_what_is_left(tmp_path: Path) -> None:
    """Its tasks have written nothing yet: that they are to come, its folder says."""
    run = ended(tmp_path, "interrupted")
    assert stands(run).state == "interrupted" and file(run).exists()
    (Path(run.path) / "slurm").mkdir()
    file_before = file(run).read_bytes()
    stands(run)
    assert file(run).read_bytes() == file_before, "what may be begun at any moment is not kept"
    assert kept.kept_standing(run.path, kept.journal_sign(run.path)) is None


GOOD: dict[str, Any] = {
    "schema": 1, "state": "done", "total": COUNT, "succeeded": 3, "failed": 2, "before": 0, "seconds": 1.0, "heard": 2.0,
}  # fmt: skip
STRANGE: list[bytes | dict[str, Any]] = [
    b"", b'{"schema": 1, "jour', b"[]", b"null", b"[" * 4000, b'"' + b"x" * 5000 + b'"', b"\xff\xfe",
    {"schema": 2}, {"schema": "1"}, {"journal": "0" * 64}, {"journal": None}, {"state": "running"}, {"state": []}, {"state": {}},
    {"total": -1}, {"total": True}, {"total": "100"}, {"failed": 1.5}, {"heard": float("nan")}, {"seconds": float("inf")},
    {"heard": 5}, {"succeeded": None},
]  # fmt: skip


@pytest.mark.parametrize("content", STRANGE, ids=str)
def test_a_file_that_is_torn_or_strange_is_passed_over_and_written_anew(tmp_path: Path, content: bytes | dict[str, Any]) -> None:
    run = ended(tmp_path)
    good = {**GOOD, "journal": kept.journal_sign(run.path)}
    file(run).write_text(json.dumps(good))
    assert stands(run).failed == 2, "it is read"
    file(run).write_bytes(content if isinstance(content, bytes) else json.dumps({**good, **content}).encode())
    assert (stands(run).state, stands(run).failed) == ("done", 1)
    assert json.loads(file(run).read_text())["failed"] == 1
    del good["failed"]
    file(run).write_text(json.dumps(good))
    assert stands(run).failed == 1


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir], ids=["pipe", "link", "folder"])
def test_something_else_in_its_place_is_not_waited_for(tmp_path: Path, make: Callable[[str], None]) -> None:
    run = ended(tmp_path)
    make(str(file(run)))
    assert stands(run).failed == 1
    assert [name for name in os.listdir(run.path) if name.startswith("standing.json-")] == []


def test_of_few_cases_and_of_those_at_work_nothing_is_kept(tmp_path: Path) -> None:
    few = ended(tmp_path, count=COUNT - 1)
    assert stands(few).failed == 1
    going = ended(tmp_path)
    session = going.begin()
    assert stands(going).state == "running"
    assert not file(few).exists() and not file(going).exists()
    session.close("done")
    assert stands(going).state == "done" and file(going).exists()


def test_nothing_is_kept_in_what_is_another_users(tmp_path: Path) -> None:
    require()
    run = ended(tmp_path)
    os.chown(run.path, 65534, 65534)
    assert stands(run).failed == 1
    assert not file(run).exists()


def test_another_user_reads_what_is_kept_and_writes_nothing(project: Project) -> None:
    require("setpriv")
    (project.pool / "runs").mkdir(parents=True)
    (project.pool / "pool.json").write_text('{"format": 2}\n')
    run, other = ended(project.path), ended(project.path)
    stands(run)
    for folder in (project.path, *project.path.parents):
        folder.chmod(folder.stat().st_mode | 0o555)
    done = project.call("status", "--all", "--json", prefix=as_nobody(), env={"SHAREDENV_TRUST": "*"})
    assert [each["failed"] for each in json.loads(done.stdout)["runs"]] == [1, 1]
    assert file(run).exists() and not file(other).exists()


def test_a_look_is_nobody_who_goes_on(tmp_path: Path) -> None:
    """`prune --all` stays its hand where a run begins meanwhile; and what is over stays over."""
    run = ended(tmp_path)
    layout = Layout(str(tmp_path / ".sharedenv"))
    files = run_files(layout)
    stands(run)
    assert file(run).exists()
    assert run_files(layout) == files
    assert going_on(layout.runs) == []


@pytest.mark.parametrize("ending", ["done", "interrupted", "drained"])
def test_the_end_of_a_run_keeps_what_its_journal_says(tmp_path: Path, ending: str) -> None:
    run = ended(tmp_path, ending)
    keep_own(run, {**run.results(), COUNT: Result(COUNT, 1, 1.0, error=INTERRUPTED)} if ending == "interrupted" else run.results())
    assert same(stands(run), read(run))
    resumed_and_ended(run)
    keep_own(run, {})
    assert not file(run).exists(), "somebody has gone on with it"


def test_a_real_run_keeps_its_standing_and_is_gone_on_with(project: Project) -> None:
    project.copies(COUNT, (), "import os, sys; sys.exit(os.path.exists('bad'))")
    (project.path / "case7/bad").touch()
    project.call("run", "--retries", "1", "case*/script.py", status=1)
    [run] = [open_run(str(project.pool / "runs"), name) for name in os.listdir(project.pool / "runs") if not name.startswith(".")]
    told = file(run).read_text()
    assert same(stands(run), read(run))
    assert json.loads(told)["failed"] == 1
    file(run).write_text(told)
    (project.path / "case7/bad").unlink()
    project.call("run", "--retry-failed")
    assert f"{COUNT:,}/{COUNT:,}  " in (listed := project.call("status", "--all").stdout)
    assert json.loads(project.call("status", "--all", "--json").stdout)["runs"][0]["failed"] == 0
    assert json.loads(file(run).read_text())["failed"] == 0, listed
