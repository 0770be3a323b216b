"""The recipes of docs/site.md: a real Lmod, a network that is cut, another user of the group."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.conftest import Project, make_removable
from tests.doors.recipes import recipes
from tests.faults import as_user, require
from tests.lab import ALICE, BOB, LAB, new_lab
from tests.pythons import MINOR, wrapper

ROOT = Path(__file__).parent.parent.parent
LMOD = Path("/usr/share/lmod/lmod/init/bash")
CUT = ("unshare", "--net")  #: in front of a command that is to have no network, not even its own


@pytest.fixture
def cases(project: Project) -> Project:
    """Two cases and `sharedenv` on PATH."""
    project.env["PATH"] = f"{project.command}:{project.env['PATH']}"
    project.copies(2, ["alpha<2"], "import alpha; print(alpha.VERSION)")
    return project


def bash(project: Project, text: str, *, env: dict[str, str] | None = None, prefix: Sequence[str] = (), status: int = 0) -> str:
    """Lines typed into bash in the project, each of which must succeed; what they print."""
    done = subprocess.run(
        [*prefix, "bash", "-ec", text], cwd=project.path, env={**project.env, **(env or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.mark.registry
def test_a_module_of_lmod(cases: Project, clean_env: dict[str, str], tmp_path: Path) -> None:
    if not LMOD.exists():
        require("lmod", root=False)
    [install], [module] = recipes("site", "bash"), recipes("site", "lua")
    wheel = [find_uv_bin(), "build", "-q", "--wheel", "--out-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(wheel, env=clean_env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [built] = tmp_path.glob("sharedenv-*.whl")
    install = install.replace("/sw", f"{tmp_path}/sw").replace("install sharedenv", f"install -q {built}").replace("python3", sys.executable)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}  # pip finds its registry
    subprocess.run(["bash", "-ec", install], env=env, check=True, capture_output=True)
    folder = tmp_path / "sw/modulefiles/sharedenv"
    folder.mkdir(parents=True)
    (folder / "0.1.0.lua").write_text(module.replace("/sw/", f"{tmp_path}/sw/"))
    start = f". {LMOD}; module use {tmp_path}/sw/modulefiles; module load sharedenv; "
    user = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "", "SCRATCH": str(tmp_path / "scratch"), "LMOD_ALLOW_ROOT_USE": "yes"}
    said = bash(cases, start + 'command -v sharedenv; command -v python3; echo "$UV_CACHE_DIR"; sharedenv --version', env=user).splitlines()
    assert said == [f"{tmp_path}/sw/sharedenv/0.1.0/bin/sharedenv", "/usr/bin/python3", f"{tmp_path}/scratch/.cache/uv", "sharedenv, version 0.1.0"]
    assert bash(cases, start + "module unload sharedenv; command -v sharedenv || echo gone", env=user) == "gone\n"
    cases.call("build", "--python", sys.executable, "case*/script.py")
    python = {**user, "SHAREDENV_PYTHON": sys.executable}
    assert bash(cases, start + "sharedenv exec --no-build case1/script.py", env=python) == "1.1\n"


def test_pythons_that_all_share(cases: Project, tmp_path: Path) -> None:
    pythons = tmp_path / "pythons"
    home = pythons / f"cpython-{MINOR}.{sys.version_info.micro}-linux-{os.uname().machine}-gnu"
    python = wrapper(home / "bin" / f"python{MINOR}")
    env = {"UV_PYTHON_INSTALL_DIR": str(pythons), "UV_PYTHON_PREFERENCE": "only-managed"}
    cases.call("build", "case*/script.py", env=env)
    assert os.path.realpath(cases.call("which", "case1/script.py", env=env).stdout.strip()) == str(python)
    shutil.rmtree(pythons)
    assert "is gone" in cases.call("run", "--no-build", "case*/script.py", env=env, status=3).stderr
    cases.call("build", "case*/script.py")


@pytest.mark.root
def test_a_pool_for_a_group(offline_env: dict[str, str], wheels: Path) -> None:
    [text] = recipes("site", "bash")
    with new_lab(offline_env, wheels) as lab:
        for line in text.replace("/projects/sweep", str(lab.project)).replace("lab", str(LAB), 1).splitlines():
            lab.shell(ALICE, line)
        for user, name in ((ALICE, "a"), (BOB, "b")):
            lab.run(user, "mkdir", "-p", f"{name}/.git")
            lab.run(user, "sh", "-c", 'printf "%s\\n" "# /// script" "# dependencies = [\'alpha\']" "# ///" "print(1)" >"$0/script.py"', name)
        assert "built environment" in lab.call(BOB, "build", "b/script.py").stderr
        assert "built environment" not in lab.call(ALICE, "run", "a/script.py").stderr
        assert lab.call(BOB, "exec", "--no-build", "a/script.py").stdout == "1\n"
        assert len(lab.environments) == 1
        (lab.pool / "pool.json").write_text('{"format": 1, "init": true, "shared": "group"}')  # as an older version made it
        lab.call(BOB, "build", "--rebuild", "b/script.py")
        lab.call(ALICE, "run", "a/script.py")
        stranger = subprocess.run([*as_user(64999, 64999), "ls", lab.pool], capture_output=True, text=True, check=False)
        assert "Permission denied" in stranger.stderr


def test_a_pool_is_shared_when_it_is_there_already(cases: Project) -> None:
    cases.call("build", "case*/script.py")
    assert "sharedenv build --rebuild" in cases.call("init", "--shared-group").stderr
    assert cases.pool.stat().st_mode & 0o2070 == 0o2070
    assert "--rebuild" not in cases.call("init", "--shared-group").stderr, "it is shared"
    cases.path.joinpath("new").mkdir()
    assert "--rebuild" not in cases.call("init", "--shared-group", "new").stderr, "nothing is in it"
    assert (cases.path / "new/.sharedenv/envs").stat().st_mode & 0o2072 == 0o2070


@pytest.mark.root
@pytest.mark.registry
def test_a_cluster_without_a_network(project: Project, clean_env: dict[str, str], tmp_path: Path) -> None:
    require("unshare")
    there, here = recipes("site", "bash")
    project.env = {**clean_env, "PATH": f"{project.command}:{clean_env['PATH']}"}
    project.copies(2, ["six", "tabulate"], "import six, tabulate; print(six.__version__)")
    pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    bash(project, there.replace("python3", sys.executable), env={**pip, "PYTHONPATH": project.env["PYTHONPATH"]})
    cluster = Project(tmp_path / "cluster", {**project.env, "UV_CACHE_DIR": str(tmp_path / "cache")})
    shutil.copytree(project.path, cluster.path, ignore=shutil.ignore_patterns(".sharedenv"))
    wheels = cluster.path / "wheels"
    assert len(list(wheels.iterdir())) == 2
    said = bash(cluster, here.replace("/sw/wheels", str(wheels)), prefix=CUT)
    assert "built 1 environment for 2 scripts" in said
    assert "2 succeeded" in said
    packages = [project.call("export", "case1/script.py").stdout, cluster.call("export", "case1/script.py", env={"UV_FIND_LINKS": str(wheels)}).stdout]
    assert packages[0].splitlines()[1:] == packages[1].splitlines()[1:]
    make_removable(cluster.path)


@pytest.mark.root
def test_a_wheel_house_in_uv_toml(cases: Project, wheels: Path) -> None:
    require("unshare")
    for name in ("UV_OFFLINE", "UV_FIND_LINKS"):
        del cases.env[name]
    (cases.path / "uv.toml").write_text(f'find-links = ["{wheels}"]\nno-index = true\n')
    assert cases.call("run", "case*/script.py", prefix=CUT).stdout.count("1.1") == 2
    cases.call("lock", "case*/script.py", prefix=CUT)
    assert cases.call("run", "case*/script.py", prefix=CUT).stdout.count("1.1") == 2


@pytest.mark.root
@pytest.mark.parametrize("where", ["variable", "project", "block"])
def test_the_hint_names_offline_where_there_is_a_wheel_house(cases: Project, wheels: Path, where: str) -> None:
    require("unshare")
    env = {**cases.env, "UV_CACHE_DIR": str(cases.path / "cache"), "UV_HTTP_RETRIES": "0"}
    del env["UV_OFFLINE"], env["UV_FIND_LINKS"]
    cases.env = env
    bare = cases.call("build", "case1/script.py", prefix=CUT, status=3).stderr
    assert "hint: export HTTPS_PROXY" in bare
    line = f'find-links = ["{wheels}"]'
    if where == "variable":
        cases.env["UV_FIND_LINKS"] = str(wheels)
    elif where == "project":
        (cases.path / "uv.toml").write_text(line)
    else:
        cases.script("case1/script.py", ["alpha<2"], extra=f"[tool.uv]\n{line}")
    said = cases.call("build", "case1/script.py", prefix=CUT, status=3).stderr
    [hint] = [text.removeprefix("hint: ") for text in said.splitlines() if text.startswith("hint: ")]
    assert hint.startswith("sharedenv build --offline case1/script.py")
    bash(cases, hint, prefix=CUT)


def test_what_is_backed_up_is_enough(cases: Project, tmp_path: Path) -> None:
    house = tmp_path / "house"
    shutil.copytree(cases.env["UV_FIND_LINKS"], house)
    (house / "alpha-1.1-py3-none-any.whl").rename(tmp_path / "alpha-1.1-py3-none-any.whl")
    cases.env["UV_FIND_LINKS"] = str(house)
    cases.call("build", "case*/script.py")
    (tmp_path / "alpha-1.1-py3-none-any.whl").rename(house / "alpha-1.1-py3-none-any.whl")  # a newer release
    shutil.copytree(cases.pool / "versions", tmp_path / "versions")
    cases.call("prune", "--all")
    shutil.copytree(tmp_path / "versions", cases.pool / "versions", dirs_exist_ok=True)
    assert cases.call("run", "case*/script.py").stdout.count("1.0") == 2
