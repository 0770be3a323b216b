"""Which processes a build starts: a small key costs little more than uv itself does."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sharedenv.build.interpreter import Fetches
from sharedenv.build.left import PREFIX
from sharedenv.build.uv import UvFailed
from tests.conftest import Project
from tests.faults import require
from tests.pool.test_held import PASSWORD, USER, serving
from tests.wheels import make_wheel

FIRST = ["venv that is found", "sync", "pip compile"]  #: of one key: uv looks for a Python, which is asked what it is meanwhile
KEY = ["venv", "sync", "pip compile"]  #: of a further one with the same Python


@pytest.fixture
def started(project: Project, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs `sharedenv ARGUMENTS`; what of uv it starts, in this order; then "probe" for each Python that was asked what it is,
    which goes on beside.
    """
    require("strace", root=False)

    def run(*arguments: str) -> list[str]:
        log = tmp_path / "strace"
        project.call(*arguments, prefix=["strace", "-f", "--seccomp-bpf", "-qq", "-s", "4096", "-e", "trace=execve", "-e", "signal=none", "-o", str(log)])
        # of two builds at a time, one may start what it starts while the other does: such a line ends in the middle
        ended = r'execve\("[^"]+", \[(.*?)\], 0x.*(?: = 0| <unfinished \.\.\.>)$'
        told = list(filter(None, map(_told, re.findall(ended, log.read_text(), re.MULTILINE))))
        return sorted(told, key=lambda name: name == "probe")

    return run


def _told(words: str) -> str:
    program, *argv = [word for word in re.findall(r'"((?:[^"\\]|\\.)*)"', words) if word not in ("--color", "never", "--no-progress")]
    if program.endswith("/uv"):
        if argv[0] == "venv" and not argv[argv.index("--python") + 1].startswith("/"):
            return "venv that is found"
        return " ".join(argv[: 2 if argv[0] in ("pip", "python") else 1])
    return "probe" if argv[:2] == ["-I", "-S"] else ""


def test_of_many_small_keys_each_starts_its_own_and_the_first_what_serves_all(project: Project, started: Callable[..., list[str]]) -> None:
    names = ["alpha==1.0", "alpha==1.1", "gamma"]
    for number, name in enumerate(names):
        project.script(f"s{number}.py", [name])
    assert started("build", "--jobs", "1", "s0.py", "s1.py", "s2.py") == ["--version", *FIRST, *KEY * 2, "probe"]
    assert started("build", "s0.py", "s1.py", "s2.py") == []


def test_what_is_held_is_installed_without_a_question(project: Project, started: Callable[..., list[str]]) -> None:
    project.script("s.py", ["alpha"])
    project.script("none.py")
    project.call("build", "s.py", "none.py")
    assert started("build", "--rebuild", "s.py") == ["--version", "venv that is found", "pip sync", "probe"]
    assert started("build", "--rebuild", "none.py") == ["--version", "venv that is found", "probe"]


@pytest.fixture
def served(project: Project, tmp_path: Path) -> Iterator[str]:
    """URL of an index of alpha and beta, with their hashes; below it, at other/, is one of delta. uv's cache is the test's own."""
    folder = tmp_path / "http"
    for place, name in ((folder, "alpha"), (folder, "beta"), (folder / "other", "delta")):
        wheel = make_wheel(place / name, name, "1.0")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (place / name / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
    del project.env["UV_OFFLINE"], project.env["UV_FIND_LINKS"]
    project.env["UV_CACHE_DIR"] = str(tmp_path / "cache")
    with serving(folder) as port:
        yield f"http://{USER}:{PASSWORD}@127.0.0.1:{port}"


def held_indexes(project: Project) -> dict[str, str]:
    """Package → the path of its index, of all that is held."""
    tables = [tomllib.loads(path.read_text())["packages"] for path in (project.pool / "versions").glob("*.toml")]
    return {package["name"]: urlsplit(package["index"]).path for packages in tables for package in packages}


@pytest.mark.parametrize("way", ["variable", "option"])
def test_where_there_is_one_index_its_address_is_asked_for_once(
    project: Project, served: str, started: Callable[..., list[str]], way: str
) -> None:
    extra = ""
    if way == "variable":
        project.env["UV_DEFAULT_INDEX"] = f"{served}/"
    else:
        extra = f'[tool.uv]\nindex-url = "{served}/"'
    for name in ("alpha", "beta"):
        project.script(f"{name}.py", [name], extra=extra)
    told = started("build", "--jobs", "1", "alpha.py", "beta.py")
    assert told == ["--version", *FIRST, "pip compile", *KEY, "probe"]
    assert held_indexes(project) == {"alpha": "/", "beta": "/"}
    project.call("build", "--rebuild", "--offline", "alpha.py", "beta.py")  # uv finds in its cache what it has of that index


@pytest.mark.parametrize("way", ["UV_INDEX", "index", "extra-index-url"])
def test_where_there_are_more_each_package_has_its_own(project: Project, served: str, way: str) -> None:
    """What was found for the first says nothing of the second."""
    other, extra = f"{served}/other/", ""
    project.env["UV_DEFAULT_INDEX"] = f"{served}/"
    if way.startswith("UV"):
        project.env[way] = other
    elif way == "index":
        extra = f'[[tool.uv.index]]\nname = "other"\nurl = "{other}"'
    else:
        extra = f'[tool.uv]\nextra-index-url = ["{other}"]'
    for name in ("alpha", "delta"):
        project.script(f"{name}.py", [name], extra=extra)
    project.call("build", "--jobs", "1", "alpha.py", "delta.py")
    assert held_indexes(project) == {"alpha": "/", "delta": "/other/"}
    project.call("build", "--rebuild", "--offline", "alpha.py", "delta.py")


def test_each_request_for_a_python_is_one_look(project: Project, started: Callable[..., list[str]]) -> None:
    """What a script says of the choice belongs to its request."""
    project.script("a.py", ["alpha"], requires_python=">=3.8")
    project.script("b.py", ["alpha"], requires_python=">=3.9")
    project.script("c.py", ["alpha"], requires_python=">=3.8", extra='[tool.uv]\npython-preference = "only-system"')
    looks = [name for name in started("build", "a.py", "b.py", "c.py") if name == "venv that is found"]
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
    traced = ["strace", "-f", "--seccomp-bpf", "-qq", "-P", str(tmp_path / "scratch"), "-e", "trace=getdents64", "-e", "signal=none", "-o", str(log)]
    project.call("build", "--jobs", "1", "s0.py", "s1.py", "s2.py", env={"TMPDIR": str(tmp_path / "scratch")}, prefix=traced)
    assert log.read_text().count("getdents64(") == 2, "its entries, and that there are no more"
    assert not list((tmp_path / "scratch").glob(f"{PREFIX}*"))


def _loaded(project: Project, *arguments: str) -> set[str]:
    argv = [sys.executable, "-X", "importtime", "-m", "sharedenv", *arguments]
    done = subprocess.run(argv, cwd=project.path, env=project.env, capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_a_build_loads_nothing_of_what_others_do(project: Project) -> None:
    """Runs, clusters, prune, upgrades, errors: half of the package, and more than uv takes for a small key."""
    project.script("s.py", ["alpha"])
    built = _loaded(project, "build", "s.py")
    assert "sharedenv.build.construct" in built
    rooms = {name.split(".")[1] for name in built if name.startswith("sharedenv.")}
    assert not rooms & {"run", "cluster", "care", "copies", "api"}
    assert not built & {f"sharedenv.{name}" for name in ("app.journal", "app.upgrade", "build.build_error", "build.remedy", "build.drift")}
    assert "rich" not in built
    assert "sharedenv.build.construct" not in _loaded(project, "build", "s.py"), "it is there"
