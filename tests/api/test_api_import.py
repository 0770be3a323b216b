"""`import sharedenv`: what it costs, and what it gives."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import sharedenv
from sharedenv.errors import SharedenvError
from sharedenv.run.table import BadTable, TableProblem
from sharedenv.script.problems import BadScripts, Problem

ROOT = Path(__file__).parent.parent.parent


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-Ec", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_it_loads_nothing_but_itself() -> None:
    assert _python("import sys; before = set(sys.modules); import sharedenv; print(*sorted(set(sys.modules) - before))") == "sharedenv"


def test_a_name_is_loaded_when_it_is_asked_for() -> None:
    code = "import sys, sharedenv; print('sharedenv.api' in sys.modules, callable(sharedenv.find), 'sharedenv.api' in sys.modules, 'click' in sys.modules)"
    assert _python(code) == "False True True False"


@pytest.mark.parametrize("first", ["sharedenv.build.options", "sharedenv.run.batch", "sharedenv.report.words", "sharedenv.cli.main"])
def test_the_folders_of_the_package_do_not_hide_what_is_public(first: str) -> None:
    code = f"import {first}, sharedenv; from sharedenv import build, run, report; print(*map(callable, (sharedenv.build, sharedenv.run, sharedenv.report, build, run, report)))"
    assert _python(code) == " ".join(["True"] * 6)


def test_what_is_public_is_listed() -> None:
    assert set(sharedenv.__all__) < set(dir(sharedenv))
    assert all(getattr(sharedenv, name).__doc__ for name in sharedenv.__all__)
    assert not hasattr(sharedenv, "nothing")
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = sharedenv.nothing  # type: ignore[attr-defined]  # wrong on purpose


@pytest.mark.parametrize(
    "error",
    [
        SharedenvError("m", cause="c", hint="h", exit_code=3),
        BadScripts([Problem("/a/b.py", "no such file")], 1, "/a"),
        BadTable("t.csv", [TableProblem(3, "odd")]),
        sharedenv.RunFailed(sharedenv.RunResult("20260101-000000", "/p", (), 2, 1.0)),
    ],
)
def test_an_error_passes_from_process_to_process(error: SharedenvError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.message, again.cause, again.hint, again.exit_code) == (str(error), error.message, error.cause, error.hint, error.exit_code)
    assert vars(again).keys() == vars(error).keys()


def test_a_traceback_shows_the_way_out() -> None:
    assert str(SharedenvError("it broke", cause="why", hint="sharedenv doctor")) == "it broke\ncause: why\nhint: sharedenv doctor"
    assert str(SharedenvError("it broke")) == "it broke"
