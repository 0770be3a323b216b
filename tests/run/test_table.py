"""`--table`: one case a row, without a copy of the script."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.run.filling import fill, names_in
from sharedenv.run.table import parse_table
from tests.cluster.test_slurm import Submitting, on
from tests.conftest import Project
from tests.slurm import wait_until

__all__ = ["on"]

#: says what it was given, as bytes that can be read back, and fails where a word is `bad`
BODY = """
import json, os, sys
print(json.dumps([os.path.basename(os.getcwd()), *sys.argv[1:]]))
if "bad" in sys.argv and not os.path.exists("mended"):
    raise ValueError("a bad row")
"""
NASTY = ["plain", "two words", 'a "quote"', "it's", "first\nsecond", "back\\slash", "{x} }{", "$HOME `id` *", "-rf", "", "tab\there", "naïve", "\udcff"]


def given_words(stdout: str) -> list[list[str]]:
    """What each case says that it was given, by what comes first after its folder."""
    return sorted(json.loads(line) for line in stdout.splitlines())


def said(captured: Path) -> list[str]:
    """The same of one case, of the file that its output went to."""
    words: list[str] = json.loads(captured.read_text().partition("\n")[0])
    return words


def write_csv(path: Path, rows: list[list[str]], **how: str) -> None:
    text = io.StringIO()
    csv.writer(text, **how).writerows(rows)  # type: ignore[arg-type]  # of many types by name
    path.write_bytes(os.fsencode(text.getvalue()))


def test_each_row_is_a_case_whatever_its_values(project: Project) -> None:
    project.script("s.py", body=BODY)
    write_csv(project.path / "t.csv", [["n", "x"], *([f"{number:02}", value] for number, value in enumerate(NASTY))])
    told = project.call("run", "s.py", "--table", "t.csv", "--", "{n}", "--x={x}", '{{"{n}"}}')
    assert given_words(told.stdout) == [["project", f"{n:02}", f"--x={value}", f'{{"{n:02}"}}'] for n, value in enumerate(NASTY)]
    assert f"{len(NASTY)} cases" in told.stderr
    assert len(project.environments) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'a,b\n1,"x, y"\n\n2e-3,z\n'),
        ("windows.csv", '\ufeffa,b\r\n1,"x, y"\r\n2e-3,z'),
        ("t.tsv", "a\tb\n1\tx, y\n2e-3\tz\n"),
        ("t.jsonl", '{"a": 1, "b": "x, y"}\n\n{"b": "z", "a": 2e-3}\n'),
        ("-", 'a,b\n1,"x, y"\n2e-3,z\n'),
        ("-", "a\tb\n1\tx, y\n2e-3\tz\n"),
        ("-", '{"a": 1, "b": "x, y"}\n{"a": 2e-3, "b": "z"}\n'),
    ],
)
def test_csv_tsv_and_json_lines_say_the_same(name: str, text: str) -> None:
    table = parse_table(text.encode(), name)
    assert not table.problems
    assert [row.by_name for row in table.rows] == [{"a": "1", "b": "x, y"}, {"a": "2e-3", "b": "z"}]


def test_a_table_on_standard_input(project: Project) -> None:
    project.script("s.py", body=BODY)
    (project.path / "rows").write_text("a\tb\n1\tx y\n")
    with open(project.path / "rows") as rows:
        told = project.call("run", "s.py", "--table", "-", "--", "{a}{b}", stdin=rows)
    assert given_words(told.stdout) == [["project", "1x y"]]
    told = project.call("run", "--from-file", "-", "--table", "-", "--", "{a}", status=2)
    assert "both read standard input" in told.stderr


def test_folder_and_output_of_each_row(project: Project) -> None:
    project.script("s.py", body=BODY)
    for number in range(1, 4):
        (project.path / f"dir {number}").mkdir()
    write_csv(project.path / "t.csv", [["id", "dir"], ["a", "dir 1"], ["b", "dir 2"], ["c", str(project.path / "dir 3")], ["d", "dir 1"]])
    project.call("run", "s.py", "--table", "t.csv", "--cwd", "{dir}", "--capture", "out {id}.txt", "--", "{id}")
    found = {path.relative_to(project.path).as_posix(): json.loads(path.read_text()) for path in project.path.glob("dir */out*")}
    assert found == {
        "dir 1/out a.txt": ["dir 1", "a"],
        "dir 2/out b.txt": ["dir 2", "b"],
        "dir 3/out c.txt": ["dir 3", "c"],
        "dir 1/out d.txt": ["dir 1", "d"],
    }
    told = project.call("run", "s.py", "--table", "t.csv", "--cwd", "{dir}", "--capture", "out", "--", "{id}", status=2)
    assert "s.py row 2 and" in told.stderr and "s.py row 5 would both write" in told.stderr


def test_a_column_names_the_script_of_each_row(project: Project) -> None:
    project.script("one.py", body=BODY)
    project.script("it's [1] two/s.py", body=BODY)
    write_csv(project.path / "t.csv", [["script", "x"], ["one.py", "1"], ["it's [1] two/s.py", "2"], ["one.py", "3"]])
    told = project.call("run", "--table", "t.csv", "--", "{x}")
    assert given_words(told.stdout) == [["it's [1] two", "2"], ["project", "1"], ["project", "3"]]
    assert "and SCRIPT is named, too" in project.call("run", "one.py", "--table", "t.csv", status=2).stderr
    write_csv(project.path / "t.csv", [["script", "x"], ["", "1"], ["nowhere.py", "2"]])
    assert "t.csv:2: no script is named" in project.call("run", "--table", "t.csv", status=2).stderr


def test_several_scripts_run_with_every_row(project: Project) -> None:
    project.copies(2, body=BODY)
    write_csv(project.path / "t.csv", [["x"], ["1"], ["2"]])
    told = project.call("run", "-j1", "case*/script.py", "--table", "t.csv", "--", "{x}")
    assert [json.loads(line) for line in told.stdout.splitlines()] == [["case1", "1"], ["case1", "2"], ["case2", "1"], ["case2", "2"]]


def test_all_that_is_wrong_is_told_at_once(project: Project) -> None:
    project.script("s.py", body=BODY)
    (project.path / "t.csv").write_text('a,b,b\n1,2,3\n1,2\n1,2\n1,2,3\n"x\ny",2,3,4\n1,"2"3,4\n1,"2\n')
    told = project.call("run", "s.py", "--table", "t.csv", "--cwd", "x{", "--", "{alpha}", status=2).stderr
    for text in (
        "t.csv:1: no column 'alpha' for {alpha}; its columns are 'a', 'b', 'b'",
        "--cwd x{: a single { ({{ stands for a brace)",
        "t.csv:1: two columns with the name 'b'",
        "2 rows: 2 fields, and the first line names 3 columns\n             t.csv:3\n             t.csv:4\n",
        "t.csv:5 (as line 2): the same as an earlier row",
        "t.csv:6: 4 fields, and the first line names 3 columns",
        "t.csv:8: ',' expected after '\"'",
        "t.csv:9: a quote that begins here never ends",
    ):
        assert text in told
    assert not project.pool.exists()


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("t.jsonl", b'{"a": 1}\n{"b": 1}\n', "t.jsonl:2: without 'a' and with 'b', which the first line has not"),
        ("t.jsonl", b'{"a": 1, "a": 2}\n{"a": 2}\n', "t.jsonl:1: the name 'a' twice"),
        ("t.jsonl", b'{"a": [1]}\n', "t.jsonl:1: the value of 'a' is neither a string nor a number"),
        ("t.jsonl", b'{"a": 1}\n[1]\n{"a"\n', "t.jsonl:2: no JSON object"),
        ("t.jsonl", b'{"a": "\\ud800"}\n', "t.jsonl:1: a character that has no bytes here: '\\ud800'"),
        ("t.csv", b"", "t.csv:1: the table is empty"),
        ("t.csv", b"a,b\n", "t.csv:1: no row follows the names of the columns"),
        ("t.csv", b"a,,b\n1,2,3\n", "t.csv:1: a column without a name"),
        ("t.csv", b"a,b\n1,\0\n", "t.csv:2: a NUL byte, which no argument may hold"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "t.csv:1: this is UTF-16; save it as UTF-8"),
        ("t.csv", b"a\n" + b"x" * 200_000 + b"\n", "t.csv:2: field larger than field limit"),
        ("t.csv", b"a,b\n1,2\n", "nothing of a row is used: say {a} after -- or in an option, or have a column 'script'"),
        ("no.csv", None, "can't read the table no.csv\n  cause: No such file"),
    ],
)
def test_what_is_no_table(project: Project, name: str, data: bytes | None, told: str) -> None:
    project.script("s.py")
    if data is not None:
        (project.path / name).write_bytes(data)
    words = () if "nothing of a row" in told else ("--", "{a}")
    assert told in project.call("run", "s.py", "--table", name, *words, status=2).stderr


def test_the_folder_of_each_row_must_be_there(project: Project) -> None:
    project.script("s.py")
    (project.path / "a").mkdir()
    write_csv(project.path / "t.csv", [["n", "dir"], ["1", "a"], ["2", "b"], ["3", "b"], ["4", "a/../c"]])
    told = project.call("run", "s.py", "--table", "t.csv", "--cwd", "{dir}", "--", "{n}", status=2).stderr
    assert f"2 rows: --cwd {{dir}} is no folder\n             t.csv:3 ({project.path}/b)\n             t.csv:5 ({project.path}/c)\n" in told


def test_a_failed_row_is_named_and_tried_again(project: Project) -> None:
    project.script("s.py", body=BODY)
    write_csv(project.path / "t.csv", [["n", "x"], ["1", "fine"], ["2", "bad"], ["3", "good\nbad"], ["4", "fine"]])
    told = project.call("run", "s.py", "--table", "t.csv", "--capture", "out{n}", "--", "{n}", "{x}", status=1).stderr
    assert "failed: s.py row 3 (n=2, x=bad): exit 1: ValueError: a bad row" in told
    assert "s.py row 3 (n=2, x=bad)" in project.call("status").stdout
    assert project.call("status", "--list", "failed").stdout == "s.py row 3\n"
    failure = json.loads(project.call("status", "--json").stdout)["failures"][0]
    assert (failure["line"], failure["row"], failure["arguments"]) == (3, {"n": "2", "x": "bad"}, ["2", "bad"])
    (project.path / "mended").touch()
    (project.path / "t.csv").unlink()  # the plan has the rows
    told = project.call("run", "--retry-failed").stderr
    assert "1 to run, 3 left as they are" in told and "1 case in" in told
    assert json.loads((project.path / "out2").read_text()) == ["project", "2", "bad"]
    assert "every script succeeded" in project.call("status").stdout


def test_a_table_that_has_grown_is_gone_on_with(project: Project) -> None:
    project.script("s.py", body=BODY)
    write_csv(project.path / "t.csv", [["n", "x"], ["1", "a"], ["2", "b"]])
    project.call("run", "s.py", "--table", "t.csv", "--", "{n}", "{x}")
    write_csv(project.path / "other.csv", [["n", "x"], ["7", "a"]])
    project.call("run", "s.py", "--table", "other.csv", "--", "{n}", "{x}")
    write_csv(project.path / "t.csv", [["x", "n"], ["c", "3"], ["b", "2"], ["a", "1"]])  # another order, too
    told = project.call("run", "--resume", "s.py", "--table", "t.csv")
    assert given_words(told.stdout) == [["project", "3", "c"]]
    assert "1 to run, 2 left as they are" in told.stderr
    assert "3 cases" in project.call("status", told.stderr.split("run ")[1].split(":")[0]).stdout
    write_csv(project.path / "t.csv", [["y", "n"], ["c", "3"]])
    told = project.call("run", "--resume", "s.py", "--table", "t.csv", status=2)
    assert "no earlier run over these rows" in told.stderr
    told = project.call("run", "--resume", "s.py", "--table", "t.csv", "--", "{z}", status=2)
    assert "t.csv:1: no column 'z'" in told.stderr or "no earlier run over these rows" in told.stderr


def test_folders_of_rows_are_gone_on_with(project: Project) -> None:
    project.script("s.py", body=BODY)
    for name in ("a", "b"):
        (project.path / name).mkdir()
    write_csv(project.path / "t.csv", [["dir"], ["a"]])
    project.call("run", "s.py", "--table", "t.csv", "--cwd", "{dir}")
    write_csv(project.path / "t.csv", [["dir"], ["a"], ["b"]])
    told = project.call("run", "--resume", "s.py", "--table", "t.csv")
    assert given_words(told.stdout) == [["b"]]


def test_what_would_be_started(project: Project) -> None:
    project.script("s.py", body=BODY)
    (project.path / "a b").mkdir()
    write_csv(project.path / "t.csv", [["n", "dir"], ["it's", "a b"]])
    told = project.call("run", "--dry-run", "s.py", "--table", "t.csv", "--cwd", "{dir}", "--", "{n}")
    assert told.stdout.startswith(f"cd '{project.path}/a b' && ") and told.stdout.endswith("""/s.py 'it'"'"'s'\n""")
    assert "1 case would run" in told.stderr


def test_workers_share_the_rows(project: Project) -> None:
    project.script("s.py", body=BODY)
    write_csv(project.path / "t.csv", [["n"], *([str(number)] for number in range(30)), ["bad"]])
    run = project.call("plan", "s.py", "--table", "t.csv", "--capture", "out{n}", "--", "{n}").stdout.strip()
    workers = [project.start("join", run, "-j2") for _ in range(2)]
    assert sorted(worker.wait(60) for worker in workers) in ([0, 1], [1, 1])
    assert sorted(said(path)[1] for path in project.path.glob("out*")) == sorted(["bad", *map(str, range(30))])
    assert "s.py row 32 (n=bad)" in project.call("status", run).stdout


def test_shares_have_their_rows(project: Project) -> None:
    project.script("s.py", body=BODY)
    write_csv(project.path / "t.csv", [["n"], *([str(number)] for number in range(5))])
    told = [project.call("run", "s.py", "--table", "t.csv", "--shard", f"{number}/2", "--", "{n}") for number in (1, 2)]
    assert given_words(told[0].stdout + told[1].stdout) == [["project", str(number)] for number in range(5)]
    assert "share 1 of 2: 3 of 5 cases" in told[0].stderr
    assert "nothing to run" in project.call("run", "--resume", "s.py", "--table", "t.csv", "--shard", "1/2").stderr


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
@pytest.mark.timeout(600)
def test_tasks_of_an_array_have_their_rows(on: Submitting) -> None:
    on.script("s.py", body=BODY)
    write_csv(on.path / "t.csv", [["n", "x"], *([str(number), value] for number, value in enumerate(NASTY)), ["99", "bad"]])
    words = ("--table", "t.csv", "--tasks", "2", "--wait", "--capture", "out{n}", "--", "{n}", "{x}")
    run = on.call("submit", "s.py", *words, status=1).stdout.split()[0]
    found = sorted(said(path)[1:] for path in on.path.glob("out*"))
    assert found == sorted([*([str(number), value] for number, value in enumerate(NASTY)), ["99", "bad"]])
    assert "row 16 (n=99, x=bad)" in on.call("status", run).stdout
    (on.path / "mended").touch()
    assert "submitted 1 case" in on.call("submit", "--resume", "--wait").stderr


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_little_memory(project: Project) -> None:
    """Also beside a run over as many others that is at work."""
    project.script("s.py", body="import time; open('begun', 'w').close(); time.sleep(600)")
    for name in ("t", "u"):
        write_csv(project.path / f"{name}.csv", [["id", "alpha", "name"], *([str(number), f"{number / 7}", f"{name}, {number}"] for number in range(100_000))])
    words = ("s.py", "--capture", "{id}", "--table")
    run = project.call("plan", *words, "u.csv", "--", "--a={alpha}", "{name}").stdout.strip()
    worker = project.start("join", "-j1", run)
    wait_until((project.path / "begun").exists, "it is at work")
    command = [sys.executable, "-m", "sharedenv", "plan", *words, "t.csv", "--", "--a={alpha}", "{name}"]
    # between them a small process: one begins with the memory of what it was forked from, here pytest's
    measure = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    measured = subprocess.run([sys.executable, "-c", measure, *command], cwd=project.path, env=project.env, check=True, stdout=subprocess.PIPE)
    assert int(measured.stdout) < 300_000
    worker.send_signal(signal.SIGINT)
    assert worker.wait(60) == 130


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("{}\"'\n\r\t ,;\\\udc80\udcff"), max_size=20)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8, unique=True), st.sampled_from([("t.csv", ","), ("t.tsv", "\t")]))
def test_what_csv_writes_is_read_back(rows: list[tuple[str, str]], kind: tuple[str, str]) -> None:
    """RFC 4180: a field in quotes may hold line breaks, delimiters and quotes."""
    name, delimiter = kind
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    data = text.getvalue().encode("utf-8", "surrogateescape")
    table = parse_table(data, name)
    assert not table.problems
    assert [tuple(os.fsencode(value) for value in row.values) for row in table.rows] == [
        tuple(value.encode("utf-8", "surrogateescape") for value in row) for row in rows
    ]


@given(TEXT, TEXT)
def test_doubled_braces_stand_for_themselves(text: str, value: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert fill(escaped, {}) == text
    assert fill(escaped + "{a b}" + escaped, {"a b": value}) == text + value + text


@pytest.mark.parametrize("text", ["{", "}", "a{b", "{a{b}}", "{{}", "{}}"])
def test_half_a_pair_of_braces_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a single [{}]"):
        names_in(text)
