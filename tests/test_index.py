"""Commands over many scripts take from the pool what it knows: nothing is parsed twice, and nothing is lost by it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conftest import Project

#: says afterwards whether requirements were parsed, or could have been
PROBE = """
import sys
from sharedenv.cli.main import main
status = main()
print("PARSED", sorted({"packaging", "sharedenv.key", "sharedenv.settings", "subprocess", "logging"} & set(sys.modules)))
sys.exit(status)
"""


def parsed(project: Project, *arguments: str) -> str:
    """What a command has loaded to parse with."""
    probe = project.path.parent / "probe.py"
    probe.write_text(PROBE)
    words = " ".join(f"'{word}'" for word in arguments)
    return project.shell(f"{sys.executable} {probe} {words}").partition("PARSED ")[2].strip()


def test_a_run_of_what_the_pool_knows_parses_no_requirement(project: Project) -> None:
    project.copies(3, ["alpha"], "import alpha")
    assert parsed(project, "run", "case*/script.py") != "[]"
    assert parsed(project, "run", "-j", "2", "case*/script.py") == "[]"
    project.copies(5, ["alpha"], "import alpha; print('further copies')")
    assert parsed(project, "run", "--no-build", "case*/script.py") == "[]"
    project.env.update(SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_TASK_MIN="1", SLURM_ARRAY_TASK_COUNT="2", SLURM_ARRAY_TASK_STEP="1", SLURM_ARRAY_TASK_MAX="2")
    assert parsed(project, "run", "--array", "case*/script.py") == "[]"


def test_what_another_spelling_means_is_worked_out_once(project: Project) -> None:
    project.script("a.py", ["alpha >= 1.0"])
    project.call("run", "a.py")
    project.script("b.py", ["Alpha>=1"])
    assert parsed(project, "run", "b.py") != "[]"
    assert parsed(project, "run", "a.py", "b.py") == "[]"
    assert len(project.environments) == 1


def test_a_node_that_only_runs_notes_nothing(project: Project) -> None:
    project.script("a.py", ["alpha>=1.0"])
    project.call("build", "a.py")
    project.script("b.py", ["alpha>=1"])
    before = sorted((project.pool / "index").iterdir())
    project.call("run", "--no-build", "b.py")
    project.call("run", "--shard", "1/1", "b.py")
    assert sorted((project.pool / "index").iterdir()) == before


def test_an_unknown_name_in_a_block_is_told_every_time(project: Project) -> None:
    project.script("a.py", [], extra="dependancies = []")
    for _ in range(2):
        assert "dependancies" in project.call("run", "a.py").stderr
    assert parsed(project, "run", "a.py") == "[]"


def test_what_goes_with_a_payload_unseen_is_there_for_a_rebuild(project: Project) -> None:
    """The pool knows the script, and its environment is damaged: the build needs its lock file, which no manifest holds."""
    script = project.script("case1/script.py", ["alpha<2"], "import alpha; print(alpha.VERSION)")
    project.shell("uv lock --quiet --script case1/script.py")
    assert project.call("run", "case1/script.py").stdout == "1.1\n"
    assert parsed(project, "run", "case1/script.py") == "[]"
    (module,) = project.environments[0].glob("lib/*/site-packages/alpha.py")
    module.unlink()
    done = project.call("run", "case1/script.py")
    assert done.stdout == "1.1\n"
    assert "alpha.py is gone" in done.stderr
    assert len(project.environments) == 2
    project.call("build", "--rebuild", "case1/script.py")
    assert len(project.environments) == 3
    assert Path(f"{script}.lock").exists()


def test_relative_places_are_looked_up_for_each_folder(project: Project) -> None:
    """The same bytes beside two folders of wheels are two environments, whatever the pool knows of the first."""
    for case in ("case1", "case2"):
        (project.path / case / "lib").mkdir(parents=True)
        (project.path / case / "lib" / "pyproject.toml").write_text('[project]\nname = "own"\nversion = "1"\n')
    first = project.script("case1/script.py", extra="[tool.uv]\nfind-links = ['lib']", body="import sys; print(sys.prefix)")
    project.call("run", str(first))
    second = project.path / "case2" / "script.py"
    second.write_bytes(first.read_bytes())
    told = project.call("run", "case*/script.py").stdout.split()
    assert sorted(told) == sorted(map(str, project.environments))
    assert len(told) == 2
    assert sorted(project.call("run", "case*/script.py").stdout.split()) == sorted(told)


def test_a_configuration_that_changes_is_seen(project: Project) -> None:
    project.script("a.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    assert project.call("run", "a.py").stdout == "2.0\n"
    (project.path / "uv.toml").write_text('resolution = "lowest"\n')
    assert project.call("run", "a.py").stdout == "1.0\n"
    (project.path / "uv.toml").write_text("nonsense = [\n")
    assert "uv.toml" in project.call("run", "a.py", status=2).stderr
    (project.path / "uv.toml").unlink()
    assert parsed(project, "run", "a.py") == "[]"
    assert project.call("run", "a.py").stdout == "2.0\n"
