"""The same script, started in different ways: nothing that can be seen of it may differ."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sharedenv.environ import environ_in
from sharedenv.run.preload import PreloadStarter
from tests.conftest import Project
from tests.ways import Place, Seen, pythons, run_bare, run_with, samples, version_of

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
FOUND = pythons(*VERSIONS)

#: what is known to differ, and why; README lists it
DIFFERENT_WITH_PRELOAD = {"traceback_recursion": "before 3.12, C calls count: some ten levels fewer are left to the script"}

#: `exec` adds the descriptor that holds the environment; uv asks for UTF-8
NOT_OF_EXEC = {"descriptors", "latin1"}


def _marks(version: str) -> list[pytest.MarkDecorator]:
    if version not in FOUND:
        return [pytest.mark.skip(f"no Python {version} here")]
    return [] if version in ("3.8", "3.11", "3.13") else [pytest.mark.slow]


each_python = pytest.mark.parametrize(
    "python", [pytest.param(FOUND.get(version), id=version, marks=_marks(version)) for version in VERSIONS]
)


def _env(tmp_path: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def _compare(expected: dict[str, Seen], found: dict[str, Seen], known: dict[str, str]) -> None:
    lines = []
    for name, one in expected.items():
        other = found[name]
        if name in known:
            assert one != other, f"{name} is the same by now: take it off the list"
            continue
        for what in ("status", "stdout", "stderr", "files"):
            if getattr(one, what) != getattr(other, what):
                lines.append(f"{name} {what}:\n  {getattr(one, what)!r}\n  {getattr(other, what)!r}")
    assert not lines, "\n".join(lines)


@each_python
def test_a_fork_is_like_a_start(python: str, tmp_path: Path) -> None:
    place, env, which = Place(tmp_path / "cases"), _env(tmp_path), samples()
    expected = run_bare(place, which, lambda sample: [python, place.script(sample), *sample.arguments], env)
    notices: list[str] = []
    starter = PreloadStarter(notices.append)
    try:
        found = run_with(starter, place, which, python, env)
    finally:
        starter.close()
    counts_c_calls = version_of(python) < (3, 12)
    _compare(expected, found, DIFFERENT_WITH_PRELOAD if counts_c_calls else {})


def test_exec_is_like_the_python_itself(project: Project) -> None:
    # the block stands behind the script, so that its lines keep their numbers
    place = Place(project.path / "cases", "\n# /// script\n# dependencies = []\n# ///\n")
    which = [sample for sample in samples() if sample.name not in NOT_OF_EXEC]
    place.lay_out(which)
    entry = project.path.parent / "sharedenv.py"
    entry.write_text(f"import sys\nsys.path.insert(0, {project.env['PYTHONPATH']!r})\nfrom sharedenv.__main__ import main\nsys.exit(main())\n")
    project.call("build", "cases/*/script.py")
    (environment,) = project.environments
    env = {name: value for name, value in project.env.items() if name != "PYTHONPATH"}
    inside = environ_in(str(environment), env)
    python = str(environment / "bin" / "python")
    expected = run_bare(place, which, lambda sample: [python, place.script(sample), *sample.arguments], inside)
    ours = [sys.executable, str(entry), "exec"]
    _compare(expected, run_bare(place, which, lambda sample: [*ours, place.script(sample), *sample.arguments], env), {})
