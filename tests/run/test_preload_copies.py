"""`run --preload`: the script of many copies is compiled once, and each case runs what its own file says."""

from __future__ import annotations

import sys

import pytest

from tests.run.test_preload import Bench, bench

__all__ = ["bench"]  # a fixture
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are shared on Linux only")


def test_each_copy_has_its_own_name_to_its_innermost_function(bench: Bench) -> None:
    bench.module("heavy.py", "")
    text = "import heavy\ndef outer():\n    def inner():\n        raise ValueError(__file__)\n    inner()\nouter()\n"
    for number in (1, 2):
        status, _, stderr = bench.run(text)
        assert status == 1
        assert stderr.count(str(bench.path / f"case{number}/script.py")) == 4, stderr
    assert len(bench.servers()) == 1


def test_what_differs_from_the_first_copy_runs_as_it_stands(bench: Bench) -> None:
    bench.module("heavy.py", "")
    assert bench.run("import heavy\nprint('one')\n")[:2] == (0, "one\n")
    assert bench.run("import heavy\nprint('two')\n")[:2] == (0, "two\n")
    assert bench.run("import heavy\nprint(\n")[0] == 1, "it is no Python"
    assert len(bench.servers()) == 1


def test_the_compilers_warnings_are_told_by_each_copy(bench: Bench) -> None:
    bench.module("heavy.py", "")
    for _ in range(2):
        status, stdout, stderr = bench.run("import heavy\nprint(1 is 1)\n")
        assert (status, stdout) == (0, "True\n")
        assert "SyntaxWarning" in stderr
    assert len(bench.servers()) == 1
