"""`sharedenv.build` and `sharedenv.find`."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sharedenv
from sharedenv import SharedenvError
from tests.conftest import Project


def test_one_environment_for_all_copies_and_nothing_the_second_time(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.copies(3, ["alpha"])
    project.script("other.py", ["beta"])
    lines: list[str] = []
    with project.inside():
        assert sharedenv.find("case1/script.py") is None
        assert not project.pool.exists()
        built = sharedenv.build(["case*/script.py", Path("other.py")], on_event=lines.append)
        assert sharedenv.build(["case*/script.py", Path("other.py")], on_event=pytest.fail) == built
        assert sharedenv.find("case3/script.py") == built[0]
    assert [environment.path for environment in built] == sorted(map(str, project.environments), key=lambda path: path != built[0].path)
    assert built[0].versions == {"alpha": "2.0"}
    assert built[0].key.startswith(built[0].name[:12])
    assert os.access(built[0].python, os.X_OK)
    assert built[0].python_version.startswith("3.")
    assert lines[0].startswith("made the pool ")
    assert sum(line.startswith("built environment ") for line in lines) == 2
    assert capfd.readouterr() == ("", "")
    assert project.call("which", "case2/script.py").stdout.strip() == built[0].python


def test_a_pool_that_is_named(project: Project) -> None:
    script = project.script("script.py", ["alpha"])
    with project.inside():
        [environment] = sharedenv.build(script, pool=project.path / "elsewhere")
        assert sharedenv.find(script, pool="elsewhere") == environment
        assert sharedenv.find(script) is None
    assert environment.path.startswith(str(project.path / "elsewhere"))


@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        ("print()", "no `# /// script` block", "uv init --script bad.py"),
        ("# /// script\n# dependencies = 3\n# ///\n", "dependencies", "sed -n 2p bad.py"),
    ],
)
def test_a_script_that_can_not_be_used(project: Project, text: str, cause: str, hint: str) -> None:
    (project.path / "bad.py").write_text(text)
    with project.inside():
        for call in (sharedenv.build, sharedenv.find, sharedenv.run, sharedenv.plan):
            with pytest.raises(SharedenvError, match=r"bad\.py(:2)? can't be used") as told:
                call("bad.py")
            assert (told.value.hint, told.value.exit_code) == (hint, 2)
            assert cause in str(told.value.cause)
    assert not project.pool.exists()


def test_a_script_that_is_not_there(project: Project) -> None:
    with project.inside(), pytest.raises(SharedenvError, match="can't be used") as told:
        sharedenv.build([project.path / "none.py"])
    assert told.value.hint == "ls ."


def test_no_script_at_all(project: Project) -> None:
    with project.inside(), pytest.raises(SharedenvError, match="no script named"):
        sharedenv.build([])


def test_what_can_not_be_built_ends_no_other_build(project: Project) -> None:
    scripts = [project.script(f"{name}.py", [name]) for name in ("nowhere", "alpha", "neither")]
    with project.inside():
        with pytest.raises(SharedenvError, match="2 of 3 environments could not be built") as told:
            sharedenv.build(scripts)
        assert told.value.exit_code == 3
        assert "nowhere" in str(told.value.cause)
        assert "neither" in str(told.value.cause)
        assert sharedenv.find("alpha.py") is not None
        with pytest.raises(SharedenvError, match=r"can't build environment \w+ for nowhere\.py") as told:
            sharedenv.build("nowhere.py")
        assert told.value.hint


def test_builds_from_several_threads(project: Project) -> None:
    """Of two projects, and twice of one: each is built once."""
    for name in ("alpha", "beta"):
        project.script(f"{name}.py", [name])
    with project.inside(), ThreadPoolExecutor(4) as threads:
        found = list(threads.map(sharedenv.build, ["alpha.py", "beta.py", "alpha.py", "beta.py"]))
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert len(project.environments) == 2


class _Enough(Exception):
    pass


def test_who_leaves_halfway_can_come_again(project: Project) -> None:
    """An observer's error, and Ctrl-C: what was ended with the call does not end the next one."""
    project.script("script.py", ["alpha"])

    def leave(text: str) -> None:
        if text.startswith("building"):
            raise _Enough

    def interrupt(text: str) -> None:
        if text.startswith("building"):
            os.kill(os.getpid(), signal.SIGINT)  # heard by the main thread, which waits

    with project.inside():
        with pytest.raises(_Enough):
            sharedenv.build("script.py", on_event=leave)
        with pytest.raises(KeyboardInterrupt):
            sharedenv.build("script.py", on_event=interrupt)
        [environment] = sharedenv.build("script.py")
        assert sharedenv.find("script.py") == environment
