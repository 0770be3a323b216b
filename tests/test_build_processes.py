"""Which processes a build starts: a small key costs little more than uv itself does."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sharedenv.pool.interpreter import Fetches
from sharedenv.pool.left import PREFIX
from sharedenv.uv import UvFailed
from tests.conftest import Project
from tests.faults import require

KEY = ["venv", "probe", "sync", "pip compile"]  #: of one key


@pytest.fixture
def started(project: Project, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs `sharedenv ARGUMENTS`; what of uv it starts, in this order, and "probe" for a Python that is asked what it is."""
    require("strace", root=False)

    def run(*arguments: str) -> list[str]:
        log = tmp_path / "strace"
        project.call(*arguments, prefix=["strace", "-f", "-qq", "-s", "4096", "-e", "trace=execve", "-e", "signal=none", "-o", str(log)])
        return list(filter(None, map(_told, re.findall(r'execve\("[^"]+", \[(.*?)\], 0x.* = 0$', log.read_text(), re.MULTILINE))))

    return run


def _told(words: str) -> str:
    program, *argv = [word for word in re.findall(r'"((?:[^"\\]|\\.)*)"', words) if word not in ("--color", "never", "--no-progress")]
    if program.endswith("/uv"):
        return " ".join(argv[: 2 if argv[0] in ("pip", "python") else 1])
    return "probe" if argv[:2] == ["-I", "-S"] else ""


def test_of_many_small_keys_each_starts_its_own_and_the_first_what_serves_all(project: Project, started: Callable[..., list[str]]) -> None:
    names = ["alpha==1.0", "alpha==1.1", "gamma"]
    for number, name in enumerate(names):
        project.script(f"s{number}.py", [name])
    assert started("build", "--jobs", "1", "s0.py", "s1.py", "s2.py") == ["--version", "python find", *KEY * 3]
    assert started("build", "s0.py", "s1.py", "s2.py") == []


def test_what_is_held_is_installed_without_a_question(project: Project, started: Callable[..., list[str]]) -> None:
    project.script("s.py", ["alpha"])
    project.script("none.py")
    project.call("build", "s.py", "none.py")
    assert started("build", "--rebuild", "s.py") == ["--version", "python find", "venv", "probe", "pip sync"]
    assert started("build", "--rebuild", "none.py") == ["--version", "python find", "venv", "probe"]


def test_each_request_for_a_python_is_one_look(project: Project, started: Callable[..., list[str]]) -> None:
    """What a script says of the choice belongs to its request."""
    project.script("a.py", ["alpha"], requires_python=">=3.8")
    project.script("b.py", ["alpha"], requires_python=">=3.9")
    project.script("c.py", ["alpha"], requires_python=">=3.8", extra='[tool.uv]\npython-preference = "only-system"')
    looks = [name for name in started("build", "a.py", "b.py", "c.py") if name == "python find"]
    assert len(looks) == 3


def test_a_python_that_was_not_found_is_looked_for_again() -> None:
    fetches, answers = Fetches(), iter(["", "/usr/bin/python3", "/opt/other"])

    def find() -> str:
        if not (found := next(answers)):
            raise UvFailed("none", 2)
        return found

    with pytest.raises(UvFailed):
        fetches.find("3.12", find)
    assert [fetches.find("3.12", find) for _ in range(2)] == ["/usr/bin/python3"] * 2
    assert fetches.find("3.13", find) == "/opt/other"


def test_a_look_that_takes_its_time_keeps_no_other_waiting() -> None:
    """One may be a fetch; the others may have their Python here."""
    fetches, there, go = Fetches(), threading.Event(), threading.Event()

    def slowly() -> str:
        there.set()
        assert go.wait(60)
        return "slow"

    threads = [threading.Thread(target=fetches.find, args=("3.12", slowly)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert there.wait(60) and fetches.find("3.13", lambda: "quick") == "quick"
    go.set()
    for thread in threads:
        thread.join(60)
    assert fetches.find("3.12", lambda: "again") == "slow"


def test_tmpdir_is_read_once_for_all_builds(project: Project, tmp_path: Path) -> None:
    """One that all users of a machine share may have thousands of entries."""
    require("strace", root=False)
    (tmp_path / "scratch").mkdir()
    for number in range(3):
        project.script(f"s{number}.py", [f"alpha=={('1.0', '1.1', '2.0')[number]}"])
    log = tmp_path / "strace"
    traced = ["strace", "-f", "-qq", "-P", str(tmp_path / "scratch"), "-e", "trace=getdents64", "-e", "signal=none", "-o", str(log)]
    project.call("build", "--jobs", "1", "s0.py", "s1.py", "s2.py", env={"TMPDIR": str(tmp_path / "scratch")}, prefix=traced)
    assert log.read_text().count("getdents64(") == 2, "its entries, and that there are no more"
    assert not list((tmp_path / "scratch").glob(f"{PREFIX}*"))
