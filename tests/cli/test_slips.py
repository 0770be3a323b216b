"""Slips of a command line: words for the scripts without `--`, names that are nearly right, lists by hand, scripts that are bad."""

from __future__ import annotations

import os
import shlex

import pytest

from tests.conftest import Project


def hint(text: str) -> str:
    """The command that a message tells to run next."""
    return text.rpartition("\n\nhint: ")[2].rstrip("\n")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("run case1/script.py 3", "sharedenv run case1/script.py -- 3"),
        ("run -j2 'case*/script.py' 1.5 fast", "sharedenv run -j2 'case*/script.py' -- 1.5 fast"),
        ("submit 7 case1/script.py", "sharedenv submit case1/script.py -- 7"),
        ("build case1/script.py 3", "ls ."),  # it gives no words to scripts
        ("run 3", "ls ."),
        ("run 'cse*/script.py'", "sharedenv run 'case*/script.py'"),
        ("key 'case*/scrpt.py'", "sharedenv key 'case*/script.py'"),
        ("build '**/skript.py'", "sharedenv build '**/script.py'"),
        ("which case1/scirpt.py", "sharedenv which case1/script.py"),
        ("build caes2/script.py", "sharedenv build case2/script.py"),
        ("run 'nothing*'", "ls ."),
        ("run data/case1/script.py", "ls data/case1"),
    ],
)
def test_what_was_meant(project: Project, words: str, meant: str) -> None:
    project.copies(2)
    assert hint(project.call(*shlex.split(words), status=2).stderr) == meant


def test_the_whole_of_such_a_message(project: Project) -> None:
    project.copies(2)
    assert project.call("run", "case1/script.py", "3", status=2).stderr == (
        "error: 1 of 2 scripts can't be used; nothing was done\n"
        "  cause: 3: no such file\n"
        "\n"
        "hint: sharedenv run case1/script.py -- 3\n"
    )
    assert project.call("run", f"{project.path}/cse*/script.py", status=2).stderr == (
        "error: cse*/script.py can't be used; nothing was done\n"
        "  cause: no file matches this pattern (one in a list is not expanded)\n"
        "\n"
        f"hint: sharedenv run '{project.path}/case*/script.py'\n"
    )


@pytest.mark.parametrize("where", ["before", "after"])
def test_options_of_the_frame_are_taken_before_and_after_the_command(project: Project, where: str) -> None:
    project.copies(2, body="print('ran')")

    def call(command: str, *options: str, status: int = 0) -> str:
        first, *rest = command.split()
        words = [*options, first, *rest] if where == "before" else [first, *options, *rest]
        return project.call(*words, status=status).stderr

    assert call("build case1/script.py", "-q", "--pool", "there") == ""
    assert (project.path / "there" / "keys").is_dir() and not project.pool.exists()
    assert "finding Python" in call("build --rebuild case1/script.py", "--verbose", "--pool=there")
    assert "\033[1;31merror:" in call("run nowhere.py", "--color", "always", status=2)
    assert "'--color': 'blue' is not one of" in call("list", "--color", "blue", status=2)
    assert hint(call("show abc", "--pool", "none", status=2)) == "sharedenv --pool none build 'case*/script.py'"


def test_what_follows_a_script_of_exec_is_the_scripts(project: Project) -> None:
    project.script("s.py", body="import sys; print(sys.argv[1:])")
    assert project.call("exec", "-q", "s.py", "-v", "--pool", "x").stdout == "['-v', '--pool', 'x']\n"
    assert project.call("run", "s.py", "-q", "--", "-v").stdout == "['-v']\n"


def test_a_list_that_was_written_by_hand(project: Project) -> None:
    scripts = project.copies(3)
    project.script("#odd/script.py")
    project.script("blank /script.py ")
    lines = ["# those of May", "case1/script.py  ", "\tcase2/script.py", "", "  # and one more", "   ", "case3/script.py\t\r",
             "#odd/script.py", "blank /script.py "]  # fmt: skip
    (project.path / "list").write_text("\n".join(lines))
    told = project.call("key", "--from-file", "list").stdout
    names = [line.partition("  ")[2] for line in told.splitlines()]
    assert [os.path.join(project.path, name) for name in names[:3]] == [str(script) for script in scripts]
    assert names[3:] == ["#odd/script.py", "blank /script.py "]
    lines = ["case1/script.py # the big one", "case2/script.py\t#no blank # and another", "odd # 1.py", "odd # 1.py # with a comment",
             "case3/script.py#", "gone.py # it is"]  # fmt: skip
    project.script("odd # 1.py")
    project.script("odd")
    (project.path / "list").write_text("\n".join(lines[:4]))
    told = project.call("key", "--from-file", "list").stdout
    assert [line.partition("  ")[2] for line in told.splitlines()] == ["case1/script.py", "case2/script.py", "odd # 1.py"]
    (project.path / "list").write_text("\n".join(lines[4:]))
    assert project.call("key", "--from-file", "list", status=2).stderr == (
        "error: all 2 scripts can't be used; nothing was done\n"
        "  cause: 2 scripts: no such file\n"
        "             case3/script.py#\n"
        "             gone.py # it is\n"
        "\nhint: ls case3\n"
    )
    (project.path / "list").write_bytes(b"case1/script.py \0")
    assert project.call("key", "-0", "--from-file", "list", status=2).stderr == (
        "error: 'case1/script.py ' can't be used; nothing was done\n  cause: no such file\n\nhint: ls case1\n"
    )


BAD = (
    "warning: 2 of 4 scripts can't be used and are passed over\n"
    "         case2/script.py: no `# /// script` block in it\n"
    "         nowhere.py: no such file\n"
)
END = "passed over, since they can't be used: case2/script.py, nowhere.py\n"


def test_bad_scripts_that_are_skipped(project: Project) -> None:
    """Two of 5,000 are no reason to run none, and no success either."""
    project.copies(3, body="print('ran')")
    (project.path / "case2" / "script.py").write_text("print('no block')\n")
    scripts = ("case*/script.py", "nowhere.py")
    assert project.call("run", *scripts, status=2).stdout == ""
    built = project.call("build", "--skip-bad", *scripts, status=1).stderr
    assert built.startswith(BAD) and built.endswith(END)
    done = project.call("run", "--skip-bad", *scripts, status=1)
    assert done.stdout == "ran\nran\n"
    assert done.stderr.startswith(BAD) and done.stderr.endswith(END)
    assert "2 succeeded" in done.stderr
    planned = project.call("plan", "--skip-bad", *scripts, status=1)
    assert planned.stderr.startswith(BAD) and planned.stderr.endswith(END)
    assert project.call("join", planned.stdout.strip()).stdout == "ran\nran\n"
    assert project.call("run", "--dry-run", "--skip-bad", *scripts, status=1).stdout.count("script.py") == 2


def test_skipping_leaves_something_to_do_or_is_an_error(project: Project) -> None:
    project.copies(2, body="print('ran')")
    told = project.call("run", "--skip-bad", "nowhere.py", status=2).stderr
    assert told == "error: nowhere.py can't be used; nothing was done\n  cause: no such file\n\nhint: ls .\n"
    assert "passed over" not in project.call("run", "--skip-bad", "case*/script.py").stderr
    (project.path / "case2" / "script.py").write_text("print('no block')\n")
    again = project.call("run", "--resume", "--skip-bad", "case*/script.py", status=1)
    assert "nothing to run" in again.stderr and again.stdout == ""
