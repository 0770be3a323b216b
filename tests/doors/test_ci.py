"""The recipes of docs/ci.md: the real pre-commit, the shell lines of the workflow, tar in the place of the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project, make_removable
from tests.doors.conftest import Tools
from tests.doors.recipes import recipes
from tests.readme import all_blocks, read

ROOT = Path(__file__).parent.parent.parent
BODY = "import alpha\nprint(alpha.VERSION)"


@pytest.fixture
def repository(project: Project) -> Project:
    """A repository with two scripts and a module that is none; `sharedenv` is on PATH."""
    project.env["PATH"] = f"{project.command}:{project.env['PATH']}"
    project.copies(2, ["alpha"], BODY)
    (project.path / "module.py").write_text("import os\n")
    git(project, "init", "-q")
    git(project, "add", ".")
    return project


def git(project: Project, *words: str) -> None:
    """Runs git in the project, as somebody without a configuration."""
    who = ["-c", "user.name=you", "-c", "user.email=you@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *words], cwd=project.path, env=project.env, check=True, capture_output=True)


@pytest.mark.parametrize("command", [("build",), ("build", "--check"), ("key",), ("lock",), ("lock", "--check")], ids=" ".join)
def test_plain_files_are_passed_over(repository: Project, command: tuple[str, ...]) -> None:
    repository.call("lock", "case*/script.py")
    repository.call("build", "case*/script.py")
    assert "module.py: no `# /// script` block" in repository.call(*command, "**/*.py", status=2).stderr
    done = repository.call(*command, "--skip-plain", "**/*.py")
    assert "module.py" not in done.stdout + done.stderr
    nothing = repository.call(*command, "--skip-plain", "module.py", "module.py")
    assert nothing.stderr == "nothing to do: no `# /// script` block in 1 file\n"
    document = json.loads(repository.call(*command, "--skip-plain", "--json", "module.py").stdout)
    there = json.loads(repository.call(*command, "--skip-plain", "--json", "**/*.py").stdout)
    assert document["errors"] == []
    assert document.keys() <= there.keys()
    listed = subprocess.run(["find", ".", "-name", "*.py", "-print0"], cwd=repository.path, capture_output=True, check=True).stdout
    (repository.path / "list").write_bytes(listed)
    again = repository.call(*command, "--skip-plain", "-0", "--from-file", "list").stdout
    assert sorted(again.splitlines()) == sorted(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("nearly.py", b"#/// script\n# dependencies = []\n# ///\n", "the opening line must be"),
        ("open.py", b"# /// script\n# dependencies = []\n", "open.py:1"),
        ("gone.py", None, "no such file"),
        ("folder.py", b"", "a folder"),
    ],
)
def test_what_is_nearly_a_script_is_not_passed_over(repository: Project, name: str, data: bytes | None, said: str) -> None:
    if data:
        (repository.path / name).write_bytes(data)
    elif data is not None:
        (repository.path / name).mkdir()
    assert said in repository.call("build", "--skip-plain", name, "module.py", "case1/script.py", status=2).stderr
    os.mkfifo(repository.path / "pipe.py")  # and nothing waits for what is no file
    assert "pipe.py" in repository.call("build", "--skip-plain", "pipe.py", "module.py", status=2).stderr


@pytest.mark.registry
@pytest.mark.timeout(600)
def test_the_hooks_of_pre_commit(repository: Project, tools: Tools, clean_env: dict[str, str], tmp_path: Path) -> None:
    [text] = recipes("ci", "yaml")
    mine = tmp_path / "sharedenv"  # what stands in the working tree, committed or not
    subprocess.run(["git", "clone", "-q", ROOT, mine], check=True, capture_output=True)
    for path in (".pre-commit-hooks.yaml", "README.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / path, mine)
    shutil.copytree(ROOT / "sharedenv", mine / "sharedenv", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    clone = Project(mine, repository.env)
    git(clone, "add", ".")
    git(clone, "commit", "-q", "--allow-empty", "-m", "x")
    git(clone, "tag", "v0.1.0")
    text = text.replace("https://github.com/you/sharedenv", mine.as_uri())
    (repository.path / ".pre-commit-config.yaml").write_text(text)
    git(repository, "add", ".")
    (repository.path / "uv.toml").write_text(f'find-links = ["{repository.env["UV_FIND_LINKS"]}"]\noffline = true\n')
    env = {name: value for name, value in clean_env.items() if name != "PYTHONPATH"}
    env |= {"PRE_COMMIT_HOME": str(tmp_path / "hooks")}
    ours = {name: value for name, value in repository.env.items() if not name.startswith("UV_FIND") and name != "UV_OFFLINE"}

    def hooks(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [f"{tools('pre-commit')}/pre-commit", "run", "--color", "never", *words]
        return subprocess.run(argv, cwd=repository.path, env=env, capture_output=True, text=True, timeout=500, check=False)

    def mended(said: str, status: int) -> None:
        [hint] = re.findall(r"^hint: (.*)$", said, re.MULTILINE)
        done = subprocess.run(["bash", "-c", hint], cwd=repository.path, env=ours, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr

    refused = hooks()
    assert refused.returncode == 1, refused.stdout
    assert "sharedenv.lock has no entry for it" in refused.stdout, refused.stdout
    assert "module.py" not in refused.stdout
    mended(refused.stdout, 0)
    assert hooks().returncode == 0
    pushed = hooks("--hook-stage", "pre-push", "--files", "case1/script.py", "module.py")
    assert pushed.returncode == 1
    assert "not built" in pushed.stdout
    mended(pushed.stdout, 0)
    assert hooks("--hook-stage", "pre-push", "--all-files").returncode == 0
    assert hooks("--files", "module.py").returncode == 0
    repository.script("case1/script.py", ["alpha", "gamma"], BODY)
    assert hooks("--files", "case1/script.py").returncode == 1


def step(project: Project, text: str, env: dict[str, str]) -> None:
    """A `run` of a workflow, by the shell that GitHub starts for `shell: bash`."""
    argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    done = subprocess.run(argv, cwd=project.path, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


@pytest.mark.registry
def test_the_workflow_of_github(repository: Project, tools: Tools, tmp_path: Path) -> None:
    [text] = recipes("ci", "yaml")
    code = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    done = subprocess.run([f"{tools('pre-commit')}/python", "-c", code], input=text, capture_output=True, text=True, check=True)
    workflow = json.loads(done.stdout)
    assert workflow["defaults"]["run"]["shell"] == "bash"
    steps = workflow["jobs"]["scripts"]["steps"]
    repository.call("lock", "case*/script.py")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pipx").write_text('#!/bin/sh\n[ "$*" = "install sharedenv" ]\n')
    (tmp_path / "bin/pipx").chmod(0o755)
    env = {**repository.env, "PATH": f"{tmp_path}/bin:{repository.env['PATH']}", "RUNNER_TEMP": str(tmp_path)}
    env["GITHUB_OUTPUT"] = str(tmp_path / "output")
    for one in steps:
        if "run" in one:
            step(repository, one["run"], env)
    assert re.fullmatch(r"digest=[0-9a-f]{64}\n", (tmp_path / "output").read_text())
    [cache] = [one["with"] for one in steps if "cache" in one.get("uses", "")]
    assert "steps.keys.outputs.digest" in cache["key"]
    assert cache["path"].split() == [".sharedenv", "~/.cache/uv"]
    assert len(repository.environments) == 1


def test_the_caches_name_moves_with_what_is_installed(repository: Project) -> None:
    [text] = [block for block in recipes_of_the_workflow() if "sharedenv key" in block]
    line = text.partition(" >")[0].strip()

    def name() -> str:
        return repository.shell(line)

    first = name()
    repository.call("build", "case*/script.py")
    repository.script("case3/script.py", ["Alpha"], "print('another body')")
    (repository.path / "module.py").write_text("import sys\n")
    assert name() == first, "the same environment"
    seen = {first}
    repository.call("lock", "case*/script.py")
    seen.add(name())
    (repository.path / ".python-version").write_text("3.11\n")
    (repository.path / "sharedenv.lock").unlink()
    seen.add(name())
    (repository.path / "uv.toml").write_text('resolution = "lowest"\n')
    seen.add(name())
    repository.script("case3/script.py", ["alpha<2"], BODY)
    seen.add(name())
    assert len(seen) == 5


def recipes_of_the_workflow() -> list[str]:
    """The lines of the workflow's `run: |`."""
    [text] = [block.text for block in all_blocks(read("ci")) if "GITHUB_OUTPUT" in block.text]
    return text.splitlines()


def test_a_restored_pool_is_used_where_it_stands(repository: Project, tmp_path: Path) -> None:
    cache = tmp_path / "uv"
    repository.env["UV_CACHE_DIR"] = str(cache)
    repository.call("build", "case*/script.py")
    subprocess.run(["tar", "-cf", tmp_path / "both.tar", "-C", tmp_path, "w/project/.sharedenv", "uv"], check=True)
    subprocess.run(["tar", "-cf", tmp_path / "pool.tar", "-C", tmp_path, "w/project/.sharedenv"], check=True)
    make_removable(repository.pool)
    shutil.rmtree(repository.pool)
    shutil.rmtree(cache)
    for number, archive in enumerate(("both.tar", "pool.tar")):
        there = tmp_path / f"runner{number}"
        there.mkdir()
        subprocess.run(["tar", "-xf", tmp_path / archive, "-C", there], check=True)
        moved = Project(there / "w/project", {**repository.env, "UV_CACHE_DIR": str(there / "uv")})
        moved.copies(2, ["alpha"], BODY)
        said = moved.call("build", "case*/script.py").stderr
        assert "built" not in said
        assert moved.call("run", "--no-build", "case*/script.py").stdout.count("2.0") == 2
        make_removable(there)
