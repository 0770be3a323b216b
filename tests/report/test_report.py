"""`sharedenv report`: what is in the file, what can't get out of it, and that a browser draws it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.report.html.advice import advise
from sharedenv.report.html.document import document
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.journal.run import Asked, Run
from sharedenv.run.journal.runs import create_run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.journal.standing import stand
from sharedenv.run.measures import Measures, lanes_of, measure
from tests.conftest import Project

NASTY = "</script><script>alert(1)</script>\"'&\x1b[31m"
BODY = f"import sys, os; bad = os.path.exists('bad'); bad and sys.exit({NASTY!r}); print('good')"


def columns(text: str, number: int = 0) -> dict[str, Any]:
    """What page.js is given."""
    found = re.search(rf'<script type="text/plain" class="data" data-run="{number}">([^<]*)</script>', text)
    assert found
    value: dict[str, Any] = json.loads(zlib.decompress(b64decode(found[1])))
    return value


def measured(count: int, *, slots: int = 4, share: float = 1.0, memory: int = 10**8, failing: int = 0) -> Measures:
    """A run of cases of 1 to 7 s, of which the first ``failing`` fail."""
    cases = [Case(number, f"/p/case{number}/script.py", (), "k" * 64) for number in range(1, count + 1)]
    free = [1e9] * slots
    attempts = []
    for case in cases:
        start, seconds = min(free), 1.0 + case.sequence % 7
        free[free.index(start)] = start + seconds
        status = 1 if case.sequence <= failing else 0
        attempts.append(Result(case.sequence, 1, start, seconds, seconds * share, memory, status, 0, "node1", environment="e-1"))
    end = max(free)
    session = SessionState("local", 1, None, slots, 1e9, (), 0.0, {}, "done", end, False)
    results = {attempt.sequence: attempt for attempt in attempts}
    run = Run("/p/.sharedenv/runs/20260101-000000", Asked(("sharedenv", "run"), (), None, 1e9, count, (), {}))
    attempts.sort(key=lambda attempt: attempt.start)
    standing = stand(count, results, [session], end)
    return Measures(run, tuple(cases), results, tuple(attempts), lanes_of(attempts), (session,), standing, ())


def test_a_report_of_a_run_with_hostile_words(project: Project) -> None:
    folders = [f"case{number}" for number in range(1, 5)] + ["<b onclick=x>", "caf\udce9", "a\nb", "<script>alert(2)"]
    for folder in folders:
        project.script(f"{folder}/script.py", ["alpha"], BODY)
    for folder in folders[3:6]:
        project.path.joinpath(folder, "bad").touch()
    project.call("run", "*/script.py", status=1)
    told = project.call("report", "-o", "r.html")
    assert re.fullmatch(r"r\.html: 4\.\d MB, to be opened in a browser\n", told.stderr) and not told.stdout
    text = project.path.joinpath("r.html").read_text()
    value = columns(text)
    assert sorted(value["cases"]) == sorted(
        ["case1/script.py", "case2/script.py", "case3/script.py", "case4/script.py", "<b onclick=x>/script.py", "caf\\xe9/script.py",
         "a\\nb/script.py", "<script>alert(2)/script.py"]
    )
    assert sorted(value["ending"]) == [0] * 5 + [1] * 3 and set(value["attempt"]) == {1}
    ours = text.replace(text[text.index("<script>/**") :], "")  # all before the library's own
    assert "alert(1)" in ours and "<script>alert" not in ours and "\x1b" not in ours and "onclick=x>" not in ours
    assert html.escape("</script><script>alert(1)</script>") in ours
    assert "<b>3</b> × " in ours and re.search(r">alpha \d\.0<", ours)
    assert "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';" in ours


def test_which_runs_and_where_to(project: Project) -> None:
    project.copies(2, ["alpha"])
    assert "error: no pool here or above, so no runs\n" in project.call("report", status=2).stderr
    project.call("run", "case1/script.py")
    project.call("run", "case2/script.py")
    first, second = sorted(path.name for path in (project.pool / "runs").iterdir() if path.name[0] != ".")
    assert f"report-{second}.html: " in project.call("report").stderr
    project.call("report", first, second, "-o", "both.html")
    text = project.path.joinpath("both.html").read_text()
    assert [columns(text, number)["cases"] for number in (0, 1)] == [["case1/script.py"], ["case2/script.py"]]
    assert f"<title>sharedenv: run {first}, {second}</title>" in text
    assert "error: . is a folder\n\nhint: sharedenv report -o ./report.html\n" in project.call("report", "-o", ".", status=2).stderr
    assert "error: can't write gone/r.html\n  cause: No such file or directory\n" in project.call("report", "-o", "gone/r.html", status=2).stderr


def test_without_plotly_it_says_what_to_install(project: Project, tmp_path: Path) -> None:
    project.copies(1)
    project.call("run", "case1/script.py")
    (tmp_path / "none" / "plotly").mkdir(parents=True)
    (tmp_path / "none" / "plotly" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'plotly'\")\n")
    told = project.call("report", status=2, env={"PYTHONPATH": str(tmp_path / "none")}).stderr
    assert told == (
        "error: a report needs plotly, which draws\n  cause: No module named 'plotly'\n\n"
        f"hint: {sys.executable} -m pip install 'sharedenv[report]'\n"
    )
    assert not list(project.path.glob("*.html"))


def test_what_was_cut_off_and_what_was_tried_again(tmp_path: Path) -> None:
    """A worker that died has what it was at work on, from its start to its last sign; the ends of first tries are told."""
    cases = [Case(number, f"{tmp_path}/case{number}/script.py", (), "k" * 64) for number in range(1, 7)]
    run = create_run(str(tmp_path / ".sharedenv/runs"), cases)
    writing = run.begin(jobs=2)
    now = time.time() - 100
    for number, attempt, signal in ((1, 1, 9), (2, 1, 9), (1, 2, 0), (2, 2, 9), (3, 1, 0)):
        writing.append(Result(number, attempt, now + number + 9 * attempt, 1.0, 1.0, None, -1 if signal else 0, signal, "node1"))
    writing.write({"started": [[4, 4004], [5, 4005]], "time": now + 30})
    path = Path(writing.path)
    path.write_text(path.read_text().replace(f'"pid":{os.getpid()}', '"pid":4194303'))  # it is dead
    os.utime(path, (now + 40, now + 40))
    one = measure(run)
    assert ([case.sequence for case in one.interrupted], one.lost, [case.sequence for case in one.again]) == ([4, 5], 2, [1, 2])
    assert [(each.sequence, round(each.seconds)) for each in one.attempts if each.interrupted] == [(4, 10), (5, 10)]
    assert one.lanes[-2:] in ((0, 1), (1, 0)), "both were at work at once"
    text = document([one], lambda case: f"case{case.sequence}")
    assert "<b>2</b> interrupted, 2 of them lost with a worker that ended without a word</summary><p><code>case4</code>, <code>case5</code></p>" in text
    assert "<b>2</b> tried again, 1 of them with success</summary><p><code>case1</code>, <code>case2</code></p>" in text
    assert "<p><b>2</b> of their attempts: killed by SIGKILL</p>" in text
    for label, number in (("interrupted", 2), ("of these lost with their worker", 2), ("not run", 1), ("attempts", 7), ("scripts tried again", 2)):
        assert f'<tr><th scope="row">{label}</th><td>{number}</td></tr>' in text
    assert sorted(columns(text)["ending"]) == [0, 0, 1, 1, 1, 2, 2]


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 100), st.floats(0, 20)), max_size=40))
def test_no_two_attempts_at_once_have_one_lane(spans: list[tuple[str, float, float]]) -> None:
    attempts = [Result(1, 1, start, seconds, host=host) for host, start, seconds in sorted(spans, key=lambda span: span[1])]
    lanes = lanes_of(attempts)
    rows: dict[tuple[str, int], float] = {}
    for attempt, lane in zip(attempts, lanes, strict=True):
        assert rows.get((attempt.host, lane), -1.0) <= attempt.start + 0.002
        rows[attempt.host, lane] = attempt.start + attempt.seconds
    for host in ("a", "b"):
        own = [(attempt.start, attempt.start + attempt.seconds) for attempt in attempts if attempt.host == host]
        most = max((sum(start <= moment <= end for start, end in own) for moment, _ in own), default=0)
        assert len({lane for each, lane in rows if each == host}) <= most


@pytest.mark.parametrize(
    ("share", "value", "reason"),
    [
        (0.1, "10 a CPU", "half of the scripts use at most 10% of a CPU: the rest of the time they wait"),
        (1.0, "one a CPU", "half of the scripts use 100% of a CPU or more"),
        (3.9, "a CPU count / 4", "half of the scripts use 3.9 CPUs or more; or --threads 1"),
    ],
)
def test_what_it_would_take_the_next_time(share: float, value: str, reason: str) -> None:
    told = {one.option: (one.value, one.reason) for one in advise(measured(400, share=share))}
    assert told["-j"] == (value, reason)
    assert told["--mem"] == ("1G", "the 4 largest together took 400 MB")
    assert told["--time"] == ("0:09:00", "26 min 38 s of scripts on 4 slots, the longest 7.0 s")
    assert told["slots"][0] == "229 at most"


def test_a_run_that_measured_nothing_gives_no_advice() -> None:
    one = measured(3)
    nothing = {sequence: Result(sequence, 1, 1e9, error=INTERRUPTED) for sequence in one.results}
    assert advise(Measures(one.run, one.cases, nothing, (), (), one.sessions, one.standing, ())) == []


def test_a_hundred_thousand_cases_take_sixty_bytes_each_at_most() -> None:
    library, some, many = (len(document([measured(count)], lambda case: case.script)) for count in (1, 20_000, 40_000))
    assert (many - some) / 20_000 <= 60 and library < 6_000_000


CHROMIUM = shutil.which("chromium")


def opened(page: Path, text: str) -> str:
    """What a browser has made of a document: from disk, with no complaint on the console."""
    assert CHROMIUM is not None
    page.write_text(text)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}", "--enable-logging=stderr"]
    argv = [CHROMIUM, *flags, "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line and "source: chrome://" not in line]  # its own pages complain
    assert re.search(r'<body data-ready="\d+">', done.stdout)
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_draws_it_and_asks_nobody(tmp_path: Path) -> None:
    """Every picture is there, names are text."""
    text = opened(tmp_path / "r.html", document([measured(300, failing=9), measured(5)], lambda case: f"{NASTY} {case.sequence}"))
    after = text[text.index("<body") :]
    assert after.count('<canvas tabindex="0" role="img" aria-label="300 attempts on 4 slots"') == 1
    assert {"2 min", "4 min", "2 s", "5 s"} <= set(re.findall(r">(\d+ \w+)</text>", after)), "round numbers in units"
    assert after.count('class="main-svg"') >= 2 * 4 * 2 and "<script>alert" not in after.split("<script>/**")[0]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_what_is_printed_is_as_wide_as_paper_and_shows_what_is_folded(tmp_path: Path) -> None:
    """Before the print the medium is the screen still: pictures had its width and, at night, its colours."""
    event = "<script>const look = () => document.body.dataset.ready ? dispatchEvent(new Event('{}')) : setTimeout(look, 50); look();</script>"
    text = document([measured(20, failing=2)], lambda case: case.script)
    printed = opened(tmp_path / "r.html", text + event.format("beforeprint"))
    assert '<html lang="en" class="printing">' in printed
    assert len(re.findall(r'<svg class="main-svg"[^>]* width="680"', printed)) >= 4
    assert "<details open" in printed and "<details>" not in printed.partition("<script>/**")[0]
