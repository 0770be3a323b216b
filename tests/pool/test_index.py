"""Commands over many scripts take from the pool what it knows: nothing is parsed twice, and nothing is lost by it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from tests.conftest import Project, opened

#: says afterwards what was loaded
PROBE = """
import sys
before = set(sys.modules)
from sharedenv.cli.main import main
status = main()
print("LOADED", *set(sys.modules) - before)
sys.exit(status)
"""
PARSERS = {"packaging", "sharedenv.key.make", "sharedenv.key.settings", "subprocess", "logging"}
#: what costs milliseconds of every start and is of use to some alone: OpenSSL, three compressors, random numbers, other ways to run
DEAR = {
    "hashlib", "shutil", "tempfile", "random", "base64", "csv", "sharedenv.pool.check", "sharedenv.pool.inventory", "sharedenv.build.builder",
    "sharedenv.app.resume", "sharedenv.run.outlived", "sharedenv.run.preload.starter", "sharedenv.cluster.share",
}


def loaded(project: Project, *arguments: str) -> set[str]:
    """The modules that a command has loaded."""
    probe = project.path.parent / "probe.py"
    probe.write_text(PROBE)
    words = " ".join(f"'{word}'" for word in arguments)
    return set(project.shell(f"{shlex.quote(sys.executable)} {probe} {words}").partition("LOADED ")[2].split())


def parsed(project: Project, *arguments: str) -> str:
    """What a command has loaded to parse with."""
    return str(sorted(PARSERS & loaded(project, *arguments)))


def test_a_run_of_what_the_pool_knows_parses_no_requirement(project: Project) -> None:
    project.copies(3, ["alpha"], "import alpha")
    assert parsed(project, "run", "case*/script.py") != "[]"
    assert parsed(project, "run", "-j", "2", "case*/script.py") == "[]"
    project.copies(5, ["alpha"], "import alpha; print('further copies')")
    assert parsed(project, "run", "--no-build", "case*/script.py") == "[]"
    array = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "1"}
    project.call("run", "--array", "case*/script.py", env={**array, "SLURM_ARRAY_TASK_ID": "2"})
    project.env.update(array)
    assert parsed(project, "run", "--array", "case*/script.py") in ("[]", "['subprocess']")  # its Python is started once before


def test_a_run_with_a_full_pool_loads_nothing_that_it_does_not_need(project: Project) -> None:
    project.copies(3, ["alpha"], "import alpha")
    project.call("build", "case*/script.py")
    assert not DEAR & loaded(project, "run", "-j", "2", "case*/script.py")
    assert not (DEAR - {"sharedenv.cluster.share"}) & loaded(project, "run", "--shard", "1/2", "case*/script.py")


def test_what_another_spelling_means_is_worked_out_once(project: Project) -> None:
    project.script("a.py", ["alpha >= 1.0"])
    project.call("run", "a.py")
    project.script("b.py", ["Alpha>=1"])
    assert parsed(project, "run", "b.py") != "[]"
    assert parsed(project, "run", "a.py", "b.py") == "[]"
    assert len(project.environments) == 1


def test_an_index_that_a_purge_has_taken_is_made_again(project: Project) -> None:
    project.copies(2, ["alpha"], "import alpha")
    project.call("build", "case*/script.py")
    index = project.path / ".sharedenv" / "index"
    shutil.rmtree(index)
    project.call("exec", "case1/script.py")
    assert list(index.iterdir())


def test_a_node_that_only_runs_notes_nothing(project: Project) -> None:
    project.script("a.py", ["alpha>=1.0"])
    project.build("a.py")
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
    """The environment is damaged: the build needs the script's lock file, which no manifest holds."""
    script = project.script("case1/script.py", ["alpha<2"], "import alpha; print(alpha.VERSION)")
    project.shell("uv lock --quiet --script case1/script.py")
    assert project.call("run", "case1/script.py").stdout == "1.1\n"
    (module,) = project.environments[0].glob("lib/*/site-packages/alpha.py")
    with opened(module.parent):
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


def test_a_rebuild_is_found_by_all_spellings_whatever_else_lies_in_the_index(project: Project) -> None:
    project.script("a.py")
    project.script("b.py", requires_python=" >= 3.8")
    project.build("a.py", "b.py")
    old = project.call("which", "b.py").stdout
    for number in range(50):  # as NFS keeps what was removed while it was open
        (project.pool / f"index/.nfs{number:08}").touch()
    project.call("build", "--rebuild", "a.py")
    assert project.call("which", "b.py").stdout == project.call("which", "a.py").stdout != old


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


def test_build_and_prune_go_by_the_scripts_alone(project: Project) -> None:
    """An index that leads to another environment is mended by `build`, and decides nothing about what is removed."""
    project.script("a.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    project.script("b.py", ["gamma"])
    project.call("run", "a.py")
    (link,) = (project.pool / "index").iterdir()
    (right,) = project.environments
    project.build("b.py")
    (wrong,) = set(project.environments) - {right}
    link.unlink()
    link.symlink_to(f"../envs/{wrong.name}")
    assert f"would remove {wrong.name}" in project.call("prune", "--unused-for", "0s", "--keep", "a.py", "--dry-run").stdout
    project.build("a.py")
    assert project.call("run", "a.py").stdout == "2.0\n"
    # where it is to be built anew, what the index says is held against the script
    link.unlink()
    link.symlink_to(f"../envs/{wrong.name}")
    shutil.rmtree(project.pool / "keys" / json.loads((wrong / "sharedenv.json").read_text())["key"], ignore_errors=True)
    with opened(wrong):
        next(wrong.glob("lib/*/site-packages/gamma.py")).unlink()
    assert "not what the index of the pool says" in project.call("run", "a.py", status=3).stderr


def test_an_error_in_the_settings_comes_before_a_run_is_begun(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.call("run", "a.py")
    (module,) = project.environments[0].glob("lib/*/site-packages/alpha.py")
    with opened(module.parent):
        module.unlink()
    user = project.path.parent / "config" / "uv" / "uv.toml"
    user.parent.mkdir(parents=True)
    user.write_text("bogus = [\n")
    runs = sorted((project.pool / "runs").iterdir())
    told = project.call("run", "a.py", env={"XDG_CONFIG_HOME": str(user.parent.parent)}, status=2).stderr
    assert "uv.toml" in told
    assert sorted((project.pool / "runs").iterdir()) == runs


def test_a_script_that_leaves_pipes_behind_holds_nobody_up(project: Project) -> None:
    project.script("a.py", [], "import os\nos.unlink(__file__)\nos.mkfifo(__file__)\nos.mkfifo(__file__ + '.lock')")
    assert "1 succeeded" in project.call("run", "a.py").stderr
    project.script("b.py", [])
    os.mkfifo(project.path / "b.py.lock")
    assert "not a regular file" in project.call("run", "b.py", status=2).stderr
    assert "not a regular file" in project.call("exec", "b.py", status=125).stderr
