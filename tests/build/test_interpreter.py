"""Which Python an environment is built with: what is here, then what uv may fetch; how requires-python is read; pyenv's shims."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sharedenv.build.interpreter import Fetches
from sharedenv.build.pyenv import without_shims
from sharedenv.build.uv import UvFailed
from sharedenv.key.requires_python import loose_reading, read_loosely
from tests.conftest import Project
from tests.pythons import BASE, MINOR, VERSION, fetched, make_pyenv, serve_python

LOOSE = pytest.mark.skipif(sys.version_info.micro == 0, reason=f"this Python is {MINOR}.0: what is read loosely fits to the letter")
NEXT = f"{sys.version_info.major}.{sys.version_info.minor + 1}"


# what is fetched


def test_a_python_that_is_not_here_is_fetched_and_said_where(project: Project, tmp_path: Path) -> None:
    served = serve_python(tmp_path)
    project.copies(3, body="import sys; print(sys.base_prefix)")
    project.script("other.py", ["alpha"], "import alpha")
    done = project.call("run", "case*/script.py", env=served)
    assert f"no Python here met requires-python >=3.8: uv has fetched {tmp_path}/fetched/cpython-" in done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert "uv has fetched" not in project.call("run", "other.py", env=served).stderr  # it is here now


@pytest.mark.parametrize("request_", [MINOR, f"cpython@{MINOR}", f">={MINOR}"])
def test_so_is_one_that_was_asked_for(project: Project, tmp_path: Path, request_: str) -> None:
    project.script("s.py", body="print('ran')")
    done = project.call("exec", "--python", request_, "s.py", env=serve_python(tmp_path))
    assert f"no Python here met {request_}: uv has fetched" in done.stderr and done.stdout == "ran\n"


@pytest.mark.parametrize(
    ("env", "files", "extra", "options", "hint"),
    [
        ({"UV_PYTHON_DOWNLOADS": "never"}, {}, "", (), "UV_PYTHON_DOWNLOADS=manual uv python install"),
        ({"UV_PYTHON_DOWNLOADS": "manual"}, {}, "", (), "uv python install"),
        ({"UV_OFFLINE": "1"}, {}, "", (), "UV_OFFLINE=0 uv python install"),
        ({}, {}, "", ("--offline",), "uv python install"),
        ({}, {"uv.toml": 'python-downloads = "never"'}, "", (), "UV_PYTHON_DOWNLOADS=manual uv python install"),
        ({}, {"pyproject.toml": '[tool.uv]\npython-downloads = "manual"'}, "", (), "uv python install"),
        ({}, {"config/uv/uv.toml": 'python-downloads = "manual"'}, "", (), "uv python install"),
        ({}, {}, '[tool.uv]\npython-downloads = "never"', (), "uv python install"),
        ({}, {}, "[tool.uv]\noffline = true", (), "uv python install"),
        ({"SLURM_JOB_ID": "1"}, {}, "", (), "uv python install"),
        ({"PBS_JOBID": "1.server"}, {}, "", (), "uv python install"),
    ],
)
def test_nothing_is_fetched_where_it_may_not(
    project: Project, tmp_path: Path, env: dict[str, str], files: dict[str, str], extra: str, options: tuple[str, ...], hint: str
) -> None:
    for name, text in files.items():
        (project.path / name).parent.mkdir(parents=True, exist_ok=True)
        (project.path / name).write_text(text + "\n")
    project.script("s.py", requires_python=f">={MINOR}", extra=extra)
    around = {**serve_python(tmp_path), "XDG_CONFIG_HOME": str(project.path / "config"), **env}
    done = project.call("build", *options, "s.py", env=around, status=3)
    assert f"no Python here meets requires-python >={MINOR}\n" in done.stderr
    assert done.stderr.endswith(f"hint: {hint} {MINOR}\n")
    assert not fetched(tmp_path)
    job = next((name for name in env if name.endswith(("JOB_ID", "JOBID"))), None)
    assert job is None or f"none is fetched in a job ({job} is set) unless python-downloads is automatic" in done.stderr


@pytest.mark.parametrize("where", ["variable", "project", "script"])
def test_in_a_job_it_is_fetched_where_somebody_says_automatic(project: Project, tmp_path: Path, where: str) -> None:
    project.script("s.py", extra='[tool.uv]\npython-downloads = "automatic"' if where == "script" else "")
    (project.path / "uv.toml").write_text('python-downloads = "automatic"\n' if where == "project" else "")
    env = {**serve_python(tmp_path), "SLURM_JOB_ID": "1"}
    project.call("build", "s.py", env={**env, "UV_PYTHON_DOWNLOADS": "automatic"} if where == "variable" else env)
    assert fetched(tmp_path)


def test_what_can_not_be_fetched_is_told_with_what_ends_it(project: Project, tmp_path: Path) -> None:
    served = serve_python(tmp_path)
    (tmp_path / "python.tar.gz").unlink()
    project.script("s.py", requires_python=f">={MINOR}")
    done = project.call("build", "s.py", env=served, status=3)
    assert f"no Python here meets requires-python >={MINOR}\n" in done.stderr and "python.tar.gz" in done.stderr
    assert done.stderr.endswith(f"hint: uv python install {MINOR}  # where there is a network\n")


def test_what_failed_is_not_tried_again_in_the_same_call() -> None:
    fetches, tried = Fetches(), list[str]()

    def fail() -> None:
        tried.append("once")
        raise UvFailed("no network", 2)

    for _ in range(3):
        with pytest.raises(UvFailed, match="no network"):
            fetches.once("3.12", fail)
    assert tried == ["once"]


def test_a_list_of_pythons_beside_the_user_is_found_from_elsewhere(project: Project, tmp_path: Path) -> None:
    served = serve_python(tmp_path)
    project.script("s.py")
    (project.path / "here.json").write_text((tmp_path / "pythons.json").read_text())
    project.call("build", "s.py", env={**served, "UV_PYTHON_DOWNLOADS_JSON_URL": "here.json"})
    assert fetched(tmp_path)


# how requires-python is read


@pytest.mark.parametrize(
    ("requires", "read"),
    [
        ("==3.12", "==3.12.*"),
        ("<=3.10,>=3.10", "<3.11,>=3.10"),
        ("!=3.9.2,<=3.10", "!=3.9.2,<3.11"),
        ("==3.12.1", None), ("==3.12.*", None), ("===3.12", None), (">=3.12", None), ("!=3.12", None), ("<=3.12.4", None), ("", None),
    ],
)
def test_what_people_mean(requires: str, read: str | None) -> None:
    assert read_loosely(requires) == read


@pytest.mark.parametrize(
    ("requires", "version", "loosely"),
    [
        ("==3.12", "3.12.1", True), ("==3.12", "3.12.0", False), ("==3.12", "3.12.0rc1", False), ("<=3.10,>=3.10", "3.10.13", True),
        ("<=3.10,>=3.8", "3.9.18", False), (">=3.8", "3.9.18", False), ("<=3.1", "3.10.2", False),
    ],
)
def test_whether_it_was_read_so(requires: str, version: str, loosely: bool) -> None:
    assert (loose_reading(requires, version) is not None) == loosely


WARNING = f"warning: requires-python is read as =={MINOR}.*, with Python {VERSION}: =={MINOR} admits {MINOR}.0 alone"


@LOOSE
@pytest.mark.parametrize("requires", [f"=={MINOR}", f">={MINOR},<={MINOR}", f">={MINOR},<={MINOR},!={MINOR}.99"])
def test_what_admits_one_release_runs_on_what_is_here(project: Project, requires: str) -> None:
    project.copies(3, ["tool"], "print('ran')", requires_python=requires)
    done = project.call("run", "case*/script.py")
    assert done.stdout == "ran\n" * 3
    assert done.stderr.count("warning: requires-python is read as") == 1
    assert f"with Python {VERSION}" in done.stderr
    # uv has not made another environment in the place of ours, whose scripts would lead into the staging folder
    assert str(project.environments[0]) in subprocess.check_output([project.environments[0] / "bin" / "tool"], text=True)
    assert project.call("verify").returncode == 0


@LOOSE
def test_it_is_said_once_a_call_by_those_that_may_build(project: Project) -> None:
    project.copies(2, requires_python=f"=={MINOR}")
    project.script("other.py", ["alpha"], requires_python=f"=={MINOR}")
    for command in ("build", "run", "build", "run"):
        assert project.call(command, "case*/script.py", "other.py").stderr.count(WARNING) == 1
    for words in (["run", "--no-build"], ["exec"], ["which"], ["key"]):
        assert "warning" not in project.call(*words, "case1/script.py").stderr
    assert WARNING in project.call("exec", project.script("new.py", ["beta"], requires_python=f"=={MINOR}").name).stderr
    assert "warning" not in project.call("-q", "build", "case*/script.py").stderr


@LOOSE
@pytest.mark.parametrize("command", [["build"], ["run"], ["exec"], ["build", "--check"], ["run", "--no-build"]])
def test_the_strict_refuse_it(project: Project, command: list[str]) -> None:
    project.script("s.py", requires_python=f"=={MINOR}")
    strict = {"SHAREDENV_STRICT_PYTHON": "1"}
    for _ in ("nothing is built", "built by who is not strict"):
        done = project.call(*command, "s.py", env=strict, status=None)
        assert done.returncode == {"exec": 125, "build": 1 if "--check" in command else 3}.get(command[0], 3), done.stderr
        if command in (["build"], ["run"], ["exec"]):
            assert f"no Python here meets requires-python =={MINOR}\n" in done.stderr
            assert f"=={MINOR} admits {MINOR}.0 alone" in done.stderr
            assert done.stderr.count(f"uv python install {MINOR}.0\n") == 1
        project.call("build", "s.py")
    assert "no Python here" in project.call("build", "--rebuild", "--strict-python", "s.py", status=3).stderr


@LOOSE
def test_a_request_is_read_with_it(project: Project) -> None:
    project.script("s.py", requires_python=f"=={MINOR}", body="print('ran')")
    for request in (MINOR, VERSION, str(BASE)):
        done = project.call("exec", "--python", request, "s.py")
        assert WARNING in done.stderr and done.stdout == "ran\n"
    told = project.call("build", "--strict-python", "--python", str(BASE), "s.py", status=3).stderr
    assert f"Python {VERSION} was asked for, and requires-python =={MINOR} does not admit it" in told


@pytest.mark.parametrize("package", ["alpha", "no-such-package"])
def test_a_python_that_does_not_start_is_told_of_whatever_uv_makes_of_it(project: Project, tmp_path: Path, package: str) -> None:
    """It is asked while uv is at work."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/bash\n[[ $2 == -S ]] && {{ echo broken >&2; exit 7; }}\nexec -a "$0" {BASE} "$@"\n')
    python.chmod(0o755)
    project.script("s.py", [package])
    told = project.call("build", "--python", str(python), "s.py", status=3).stderr
    assert "the new environment's Python does not start (status 7)" in told and "broken" in told
    assert not project.environments and not list((project.pool / "tmp").iterdir())


@LOOSE
def test_the_newest_that_is_here_is_taken(project: Project) -> None:
    other = Path("/usr/bin") / BASE.name
    found = subprocess.run([other, "-V"], capture_output=True, text=True, check=False).stdout if other.exists() else ""
    if other.samefile(BASE) if found else True:
        pytest.skip(f"this machine has one Python {MINOR}")
    newest = max(VERSION, found.split()[1], key=lambda version: int(version.rpartition(".")[2]))
    project.script("s.py", requires_python=f"=={MINOR}", body="import platform; print(platform.python_version())")
    for folders in ((other.parent, BASE.parent), (BASE.parent, other.parent)):
        env = {"PATH": os.pathsep.join(map(str, folders))}
        assert project.call("exec", "s.py", env=env).stdout == f"{newest}\n"
        project.call("prune", "--all")


@LOOSE
def test_what_is_here_comes_before_what_fits_better_elsewhere(project: Project, tmp_path: Path) -> None:
    project.script("s.py", requires_python=f"=={MINOR}")
    project.call("build", "s.py", env={**serve_python(tmp_path), "PATH": str(BASE.parent)})
    assert not fetched(tmp_path)


@LOOSE
def test_what_is_fetched_is_the_newest_as_uv_fetches_it(project: Project, tmp_path: Path) -> None:
    served = serve_python(tmp_path)
    [(name, entry)] = json.loads((tmp_path / "pythons.json").read_text()).items()
    letter = {**entry, "patch": 0, "url": (tmp_path / "letter.tar.gz").as_uri()}  # there is no such file
    (tmp_path / "pythons.json").write_text(json.dumps({name: entry, name.replace(VERSION, f"{MINOR}.0"): letter}))
    project.script("s.py", body="print('ran')", requires_python=f"=={MINOR}")
    assert project.call("exec", "s.py", env=served).stdout == "ran\n"


@LOOSE
def test_what_is_fetched_is_read_so_too(project: Project, tmp_path: Path) -> None:
    project.script("s.py", requires_python=f"=={MINOR}")
    done = project.call("build", "s.py", env=serve_python(tmp_path))
    assert f"no Python here met requires-python =={MINOR}: uv has fetched" in done.stderr and WARNING in done.stderr


@LOOSE
def test_a_lock_file_holds_for_what_is_read_so(project: Project) -> None:
    for requires in (f"=={MINOR}", f">={MINOR},<={MINOR}"):
        project.script("s.py", ["alpha<2"], "import alpha; print(alpha.VERSION)", requires_python=requires)
        (project.path / "s.py.lock").unlink(missing_ok=True)
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([uv, "lock", "-q", "--script", "s.py", "--python", BASE], cwd=project.path, env=project.env, check=True)
        assert project.call("exec", "s.py").stdout == "1.1\n"
    lock = project.path / "s.py.lock"
    lock.write_text(lock.read_text().replace('version = "1.1"', 'version = "1.0"'))
    assert "its lock file" in project.call("build", "s.py", status=3).stderr


@LOOSE
def test_what_is_read_so_has_not_drifted(project: Project) -> None:
    package = project.path / "local"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "local"\nversion = "1"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(_BACKEND)
    project.script("s.py", ["local"], requires_python=f"=={MINOR}", extra='[tool.uv.sources]\nlocal = { path = "local" }')
    project.call("build", "s.py")
    assert "building" not in project.call("build", "s.py").stderr


_BACKEND = """\
import zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "local-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, text in {
            "local.py": "",
            "local-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: local\\nVersion: 1\\n",
            "local-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
            "local-1.dist-info/RECORD": "local.py,,\\nlocal-1.dist-info/METADATA,,\\nlocal-1.dist-info/WHEEL,,\\nlocal-1.dist-info/RECORD,,\\n",
        }.items():
            wheel.writestr(path, text)
    return name
"""


def test_the_key_says_what_the_script_says(project: Project) -> None:
    project.script("a.py", requires_python="==3.12")
    project.script("b.py", requires_python="==3.12.*")
    assert re.search("requires-python +==3.12\n", project.call("key", "--explain", "a.py").stdout)
    assert len({line.split()[0] for line in project.call("key", "a.py", "b.py").stdout.splitlines()}) == 2


# which folder is meant


def test_a_request_may_be_the_bare_name_of_a_folder(project: Project) -> None:
    subprocess.run([BASE, "-m", "venv", "--without-pip", project.path / "mine"], check=True)
    project.script("s.py", body="print('ran')")
    project.script("below/s.py", body="print('ran')")
    assert project.call("exec", "--python", "mine", "s.py").stdout == "ran\n"
    assert project.call("key", "--python", "mine", "s.py").stdout == project.call("key", "--python", "./mine", "s.py").stdout
    assert len(project.environments) == 1
    for variable in ("SHAREDENV_PYTHON", "UV_PYTHON"):
        assert project.call("exec", "s.py", env={variable: "mine"}).stdout == "ran\n"
        # there is none in this folder, whatever the index knows of the other
        told = project.call("exec", "s.py", env={variable: "mine"}, cwd=project.path / "below", status=125)
        assert "no Python here is mine" in told.stderr


@pytest.mark.parametrize("name", [MINOR, f"python{MINOR}", "cpython", f">={MINOR}", "any"])
def test_a_version_is_one_whatever_folder_lies_there(project: Project, name: str) -> None:
    (project.path / name).mkdir()
    project.script("s.py", body="print('ran')")
    assert project.call("exec", "--python", name, "s.py").stdout == "ran\n"


# another uv


@pytest.mark.parametrize(
    ("where", "text", "told"),
    [
        ("uv.toml", 'required-version = ">=99"', "the project's uv.toml"),
        ("pyproject.toml", '[tool.uv]\nrequired-version = ">=99"', "the project's pyproject.toml"),
        ("", '[tool.uv]\nrequired-version = ">=99"', "[tool.uv] of the script"),
    ],
)
def test_a_uv_that_is_not_the_one_that_is_wanted(project: Project, where: str, text: str, told: str) -> None:
    project.script("s.py", extra="" if where else text)
    if where:
        (project.path / where).write_text(text + "\n")
    done = project.call("build", "s.py", status=3)
    assert f"cause: {told} wants uv >=99, and this is uv " in done.stderr
    assert done.stderr.endswith("hint: pip install 'uv>=99'\n") and "no Python" not in done.stderr


# pyenv's shims


@pytest.mark.parametrize(
    ("variable", "version_file", "global_file", "first"),
    [
        (None, None, "3.9.2", ["3.9.2"]),
        ("3.10.1:3.9.2", "3.12.0", "3.9.2", ["3.10.1", "3.9.2"]),
        (None, "3.12.0\n3.9.2", "3.10.1", ["3.12.0", "3.9.2"]),
        (None, "3.12 # the newest of it", "3.10.1", ["3.12.4"]),
        (None, None, "system", []),
        (None, None, "python-3.9.2 mine", ["3.9.2", "mine"]),
        ("3.7.1", None, "3.9.2", []),  # pyenv has none: its shims would fail
        (None, None, None, []),
    ],
)
def test_what_a_shim_stands_for(
    tmp_path: Path, variable: str | None, version_file: str | None, global_file: str | None, first: list[str]
) -> None:
    root, folder = tmp_path / "pyenv", tmp_path / "home" / "project"
    for name in ("3.9.2", "3.10.1", "3.12.0", "3.12.4", "mine", "pypy3.10-7.3"):
        (root / "versions" / name / "bin").mkdir(parents=True)
    (root / "shims").mkdir()
    (root / "shims" / "python3").touch()
    folder.mkdir(parents=True)
    for path, text in ((root / "version", global_file), (folder.parent / ".python-version", version_file)):
        if text is not None:
            path.write_text(text + "\n")
    environ = {"PATH": f"/first:{root}/shims:/last", **({"PYENV_VERSION": variable} if variable else {})}
    found = without_shims(environ, str(folder))["PATH"].split(":")
    end = found.index("/last")
    assert [path for path in found[:end] if path != "/first"] == [f"{root}/versions/{name}/bin" for name in first]
    # all others that pyenv has come last, the newest first
    others = [name for name in ("3.12.4", "3.12.0", "3.10.1", "3.9.2") if name not in first]
    assert found[end + 1 :] == [f"{root}/versions/{name}/bin" for name in others]


@pytest.mark.parametrize("path", ["/usr/bin", "", "/home/you/.rbenv/shims:/usr/bin"])
def test_a_path_without_shims_is_left_alone(path: str) -> None:
    assert without_shims({"PATH": path}, "/") == {"PATH": path}


@pytest.mark.parametrize("chosen", [VERSION, "system"])
def test_no_shim_is_started(project: Project, tmp_path: Path, chosen: str) -> None:
    root = make_pyenv(tmp_path / "pyenv", [VERSION])
    project.script("s.py", body="import sys; print(sys.executable)")
    done = project.call("run", "s.py", env={"PATH": f"{root}/shims:/no-such-folder", "PYENV_VERSION": chosen})
    assert f"Python {VERSION}" in done.stderr
    assert f"{root}/versions/{VERSION}/bin" in (project.environments[0] / "pyvenv.cfg").read_text()
    assert not (root / "started").exists()


def test_what_pyenv_has_is_taken_before_anything_is_fetched(project: Project, tmp_path: Path) -> None:
    root = make_pyenv(tmp_path / "pyenv", [VERSION])
    served = {**serve_python(tmp_path), "PATH": f"{root}/shims", "PYENV_VERSION": "system"}
    project.script("s.py", requires_python=f">={MINOR},<{NEXT}")
    project.call("build", "s.py", env=served)
    assert not fetched(tmp_path)
