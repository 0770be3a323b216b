"""The same script, started in different ways: nothing that can be seen of it may differ."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sharedenv.run.case import Case
from sharedenv.run.preload import starter
from sharedenv.run.preload.starter import PreloadStarter
from sharedenv.run.starter import PlainStarter
from sharedenv.start.environ import environ_in
from tests.conftest import Project
from tests.ways import Place, Sample, Seen, pythons, run_bare, run_with, samples, version_of, without_addresses

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
FOUND = pythons(*VERSIONS)

#: what is known to differ, and why; README lists it
DIFFERENT_WITH_PRELOAD = {"traceback_recursion": "before 3.12, C calls count: some ten levels fewer are left to the script"}

#: started the plain way, and why that can't be otherwise
PLAIN_WITH_PRELOAD = {
    "missing_name",  # an import that fails shows its own traceback
    "indentation_error",  # no imports can be found in
    "syntax_error",
    "no_parser_for_it",
    "inspect_after",  # the interpreter itself speaks
    "local_module_shadows",  # the folder has a module that was imported from elsewhere
    "local_package_shadows",
}

#: `exec` adds the descriptor that holds the environment; uv asks for UTF-8
NOT_OF_EXEC = {"descriptors", "latin1"}


def _marks(version: str) -> list[pytest.MarkDecorator]:
    if version not in FOUND:
        return [pytest.mark.skip(f"no Python {version} here")]
    return [] if version in ("3.8", "3.11", "3.13") else [pytest.mark.slow]


def _on(versions: Sequence[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("python", [pytest.param(FOUND.get(version), id=version, marks=_marks(version)) for version in versions])


each_python = _on(VERSIONS)
def _env(tmp_path: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


#: what `run` tells each case, and bare Python doesn't
_TOLD = re.compile(rb"\('SHAREDENV_CASE_(?:NUMBER|SLOT|ATTEMPT|RUN)', '[^']*'\), ")


def _compare(expected: dict[str, Seen], found: dict[str, Seen], known: dict[str, str]) -> None:
    lines = []
    for name, one in expected.items():
        other = found[name]
        if name in known:
            assert one != other, f"{name} is the same by now: take it off the list"
            continue
        for what in ("status", "stdout", "stderr", "files"):
            if getattr(one, what) != (_TOLD.sub(b"", other.stdout) if what == "stdout" else getattr(other, what)):
                lines.append(f"{name} {what}:\n  {getattr(one, what)!r}\n  {getattr(other, what)!r}")
    assert not lines, "\n".join(lines)


@each_python
def test_a_fork_is_like_a_start(python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, env, which = Place(tmp_path / "cases"), _env(tmp_path), samples()
    expected = run_bare(place, which, lambda sample: [python, place.script(sample), *sample.arguments], env)
    monkeypatch.setattr(starter, "IDLE", 0.0)  # each sample has a server of its own, and its turn
    forks = PreloadStarter(lambda _: None)
    started_plainly: list[str] = []
    start = forks._plain.start

    def noting(case: Case, *others: Any) -> int:
        started_plainly.append(Path(case.script).parent.name)
        return start(case, *others)

    monkeypatch.setattr(forks._plain, "start", noting)
    try:
        found = run_with(forks, place, which, python, env)
    finally:
        forks.close()
    counts_c_calls = version_of(python) < (3, 12)
    _compare(expected, found, DIFFERENT_WITH_PRELOAD if counts_c_calls else {})
    assert set(started_plainly) == PLAIN_WITH_PRELOAD, "only a fork shows anything"


@_on(("3.11",))
def test_a_start_of_run_is_like_a_start(python: str, tmp_path: Path) -> None:
    place, env, which = Place(tmp_path / "cases"), _env(tmp_path), samples()
    expected = run_bare(place, which, lambda sample: [python, place.script(sample), *sample.arguments], env)
    starter = PlainStarter()
    try:
        found = run_with(starter, place, which, python, env)
    finally:
        starter.close()
    _compare(expected, found, {})


class Ready:
    """A project whose scripts are the samples, with an environment that is built, and the command in it."""

    def __init__(self, project: Project, python: str, which: list[Sample]) -> None:
        # the block stands behind the script, so that its lines keep their numbers
        self.place = Place(project.path / "cases", "\n# /// script\n# dependencies = []\n# ///\n")
        self.place.lay_out(which)
        entry = project.path.parent / "sharedenv.py"
        entry.write_text(
            f"import sys\nsys.path.insert(0, {project.env['PYTHONPATH']!r})\nfrom sharedenv.__main__ import main\nsys.exit(main())\n"
        )
        self.ours = [sys.executable, str(entry)]
        # a variable and no option: so `exec` takes its fast way
        self.env = {name: value for name, value in project.env.items() if name != "PYTHONPATH"} | {"SHAREDENV_PYTHON": python}
        project.call("build", "--python", python, "cases/*/script.py")
        (environment,) = project.environments
        self.inside = environ_in(str(environment), self.env)
        self.python = str(environment / "bin" / "python")


@_on(("3.13",))  # it becomes that Python: nothing of ours runs in it that could differ between versions
def test_exec_is_like_the_python_itself(project: Project, python: str) -> None:
    which = [sample for sample in samples() if sample.name not in NOT_OF_EXEC]
    ready = Ready(project, python, which)
    place = ready.place
    expected = run_bare(place, which, lambda sample: [ready.python, place.script(sample), *sample.arguments], ready.inside)
    ours = [*ready.ours, "exec"]
    _compare(expected, run_bare(place, which, lambda sample: [*ours, place.script(sample), *sample.arguments], ready.env), {})


@_on(("3.8", "3.13"))  # the oldest and the newest: what lies between the fork server above sees
def test_run_is_like_the_python_itself(project: Project, python: str) -> None:
    """Without and with `--preload`: both are compared with one round of all scripts in the bare Python."""
    which = [sample for sample in samples() if sample.name not in NOT_OF_EXEC and not sample.arguments and not sample.variables]
    ready = Ready(project, python, which)
    place = ready.place
    expected = run_bare(place, which, lambda sample: [ready.python, place.script(sample)], ready.inside, piped=True)
    _compare(expected, _run(project, ready, which), {})
    _compare(expected, _run(project, ready, which, "--preload"), DIFFERENT_WITH_PRELOAD if version_of(python) < (3, 12) else {})


def _run(project: Project, ready: Ready, which: list[Sample], *options: str) -> dict[str, Seen]:
    ready.place.lay_out(which)
    log = project.path / f"log{''.join(options)}.txt"
    command = [*ready.ours, "run", "-j2", *options, "--capture", "seen.txt", "--joblog", str(log)]
    done = subprocess.run([*command, "cases/*/script.py"], cwd=project.path, env=ready.env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    rows = [line.split("\t") for line in log.read_text().splitlines()[1:]]
    status = {Path(row[8].split()[1]).parent.name: -int(row[7]) or int(row[6]) for row in rows}
    found = {}
    for sample in which:
        files = ready.place.left_behind(sample)
        found[sample.name] = Seen(without_addresses(files.pop("seen.txt")), b"", status[sample.name], files)
    return found
