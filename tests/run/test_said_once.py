"""What is passed over is told once, by who builds for all copies, and never by the tasks of an array."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sharedenv.script.metadata import uv_options
from tests.conftest import Project

#: beside a known one: a typing error, a key of another tool, a table that is copied from a pyproject.toml
STRANGE = "dependances = []\nmain = 'x'\n[dependency-groups]\ndev = ['pytest']\n"
TASK = {"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "3"}


def _strange(project: Project) -> None:
    project.copies(3, body="print('x')")
    for script in project.path.glob("case*/script.py"):
        script.write_text("# /// script\n" + "".join(f"# {line}\n" for line in STRANGE.splitlines()) + "# ///\nprint('x')\n")


def test_no_task_of_an_array_tells_of_an_unknown_key(project: Project) -> None:
    """An array of 5,000 tasks leaves 5,000 error files."""
    _strange(project)
    told = project.call("build", "case*/script.py").stderr
    assert told.count("unknown key") == 3
    ways = [
        ("exec", "--no-build", "case1/script.py"), ("exec", "case1/script.py"), ("which", "case1/script.py"),
        ("activate", "case1/script.py"), ("--pool", ".sharedenv", "exec", "case2/script.py"),
        ("--pool", ".sharedenv", "which", "case2/script.py"), ("--pool", ".sharedenv", "activate", "case2/script.py"),
    ]  # fmt: skip
    for words in ways:
        assert project.call(*words).stderr == "", words
    for words in (("--array",), ("--no-build",), ()):
        assert "unknown" not in project.call("run", *words, "case*/script.py", env=TASK).stderr
    assert "unknown" not in project.call("run", "case3/script.py", env={"SGE_TASK_ID": "3", "JOB_ID": "4711"}).stderr
    assert "unknown" not in project.call("run", "--shard", "1/3", "case*/script.py").stderr
    assert "unknown" not in project.call("stage", "case1/script.py", "--to", "copies").stderr


@pytest.mark.parametrize("command", ["build", "run", "key"])
def test_a_table_is_no_misspelt_list(project: Project, command: str) -> None:
    _strange(project)
    lines = [line for line in project.call(command, "case*/script.py").stderr.splitlines() if "unknown" in line]
    assert lines == [
        "warning: case1/script.py:2: unknown key `dependances`; did you mean `dependencies`? (in 3 scripts)",
        "warning: case1/script.py:3: unknown key `main`; it is ignored (in 3 scripts)",
        "warning: case1/script.py:4: unknown key `dependency-groups`; it is ignored (in 3 scripts)",
    ]


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("#!/usr/bin/env -S uv run --python 3.13 --script", "--python 3.13"),
        ("#!/usr/bin/env -S uv run --with numpy -q --script", "--with numpy"),
        ("#!/usr/bin/env -S UV_PYTHON=3.13 uv run --script", "UV_PYTHON=3.13"),
        ("#!/usr/bin/env -S /opt/bin/uv --offline run -s", "--offline"),
        ("#!/usr/bin/env -S uv run --script", ""),
        ("#!/usr/bin/env -S uv run --quiet --no-project --script", ""),
        ("#!/usr/bin/env python3", ""),
        ("#!/usr/bin/env -S uv tool run --python 3.13 x", ""),
        ("# uv run --python 3.13", ""),
        ("#!/usr/bin/env -S uvx --python 3.13 x", ""),
    ],
)
def test_options_in_the_first_line(line: str, options: str) -> None:
    assert uv_options(f"{line}\nprint()\n".encode()) == options
    assert uv_options(f"{line}\r\nprint()\r\n".encode()) == options
    assert uv_options(line.encode()) == options


def test_options_in_the_first_line_are_told_by_build_run_and_doctor(project: Project) -> None:
    for number, options in enumerate(("--python 3.13", "--python 3.13", "--with alpha"), 1):
        script = project.script(f"case{number}/script.py", body="print('x')")
        script.write_text(f"#!/usr/bin/env -S uv run {options} --script\n{script.read_text()}")
    project.script("plain.py")
    said = "options of uv in the first line are not read, here as by `uv run SCRIPT`"
    for command in ("build", "run"):
        lines = [line for line in project.call(command, "case*/script.py", "plain.py").stderr.splitlines() if said in line]
        assert lines == [
            f"warning: case1/script.py:1: {said}: --python 3.13 (in 2 scripts)",
            f"warning: case3/script.py:1: {said}: --with alpha",
        ]
    assert project.call("exec", "case1/script.py").stderr == ""
    findings = json.loads(project.call("doctor", "--json").stdout)["findings"]
    texts = [finding["text"] for finding in findings if finding["subject"] == "first line"]
    assert texts == [
        f"{said}: --python 3.13 ({project.path}/case1/script.py and 1 more)",
        f"{said}: --with alpha ({project.path}/case3/script.py)",
    ]


def _site(folder: Path, text: str) -> Path:
    file = folder / "uv" / "uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


def test_a_build_names_what_it_leaves_out_of_the_sites_and_the_users_configuration(project: Project, tmp_path: Path) -> None:
    site = _site(tmp_path / "site", 'resolution = "lowest"\nlink-mode = "copy"\nfind-links = ["/nowhere"]\n[pip]\nuser = true\n')
    own = _site(tmp_path / "own", 'exclude-newer = "2099-01-01"\n')
    env = {"XDG_CONFIG_DIRS": f"{tmp_path}/none:{tmp_path}/site", "XDG_CONFIG_HOME": f"{tmp_path}/own", "UV_FIND_LINKS": ""}
    env["UV_EXCLUDE_NEWER"] = "2098-01-01"  # what the project, or a variable, decides is no loss
    project.script("a.py", requires_python=">=3.8")
    project.script("b.py", requires_python=">=3.9")
    told = project.call("build", "a.py", "b.py", env=env).stderr
    line = (
        f"warning: {site}: left out, since a pool is shared: resolution, find-links; "
        f"what this project needs of it belongs in {project.path}/uv.toml"
    )
    assert told.count("left out") == told.count(line) == 1  # two builds, one line
    assert "left out" not in project.call("build", "a.py", "b.py", env=env).stderr  # nothing is built
    assert "left out" not in project.call("build", "--rebuild", "a.py", env={**env, "UV_NO_SYSTEM_CONFIG": "1"}).stderr
    del env["UV_EXCLUDE_NEWER"]
    told = project.call("run", "a.py", env=env).stderr
    assert f"{own}: left out, since a pool is shared: exclude-newer;" in told


def test_a_mirror_of_the_site_is_used_and_not_named_as_left_out(project: Project, tmp_path: Path, wheels: Path) -> None:
    _site(tmp_path / "site", f'[[index]]\nurl = "{wheels}"\nformat = "flat"\ndefault = true\n')
    project.script("s.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    done = project.call("run", "s.py", env={"XDG_CONFIG_DIRS": f"{tmp_path}/site", "UV_FIND_LINKS": ""})
    assert done.stdout == "2.0\n"
    assert "left out" not in done.stderr
