"""Health: an environment that can't be run as it was built is found, named and built anew, and never run in silence."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from sharedenv.pool.check import Contents, required_glibc
from sharedenv.pool.health import glibc_fault
from tests.care.test_verify import module
from tests.conftest import UNPRIVILEGED, Project, opened


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base Python of our own: a script at its path that starts the real one, and can be removed or changed."""
    interpreter = tmp_path / "base" / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    interpreter.parent.mkdir(parents=True)
    return interpreter


def put(interpreter: Path, real: str) -> None:
    """Puts a Python at a path as a link, the way package managers do."""
    interpreter.unlink(missing_ok=True)
    interpreter.symlink_to(real)


def real_python() -> str:
    """The interpreter behind this test session's venv."""
    return os.path.realpath(sys.executable)


def other_python() -> str | None:
    """Another version of Python on this machine, if there is one."""
    for name in ("python3.12", "python3.13", "python3.10", "python3.14", "python3.9"):
        found = shutil.which(name)
        if found and os.path.realpath(found) != real_python():
            here = Path(real_python()).parent.parent.parent.glob(f"{name.removeprefix('python')}*/bin/{name}")
            candidates = [*map(str, here), os.path.realpath(found)]
            for candidate in candidates:
                if os.path.isfile(candidate) and "shims" not in candidate:
                    return candidate
    return None


def retarget(environment: Path, python: str) -> None:
    """Lets an environment's Python be the one at this path (the folder is read-only: root, or a moment's chmod)."""
    link = environment / "bin" / "python"
    mode = link.parent.stat().st_mode
    link.parent.chmod(0o755)
    link.unlink()
    link.symlink_to(python)
    link.parent.chmod(mode)


def test_a_base_python_that_is_gone_is_named_and_built_anew(project: Project, tmp_path: Path) -> None:
    project.script("s.py", ["alpha"], "import sys; print(sys.prefix)")
    project.build("s.py")
    retarget(project.environments[0], str(tmp_path / "nowhere"))
    assert "is gone" in project.call("build", "--check", "s.py", status=1).stderr
    told = project.call("exec", "--no-build", "s.py", status=125)
    assert "is gone" in told.stderr and "hint: sharedenv build s.py" in told.stderr
    done = project.call("exec", "s.py")
    assert "rebuilding environment" in done.stderr and "is gone" in done.stderr
    assert done.stdout.strip() == str(project.environments[1])


def test_a_base_python_in_a_closed_home_is_not_called_gone(project: Project, base: Path) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.build("s.py")
    put(base, real_python())
    retarget(project.environments[0], str(base))
    base.parent.chmod(0)
    told = project.call("exec", "--no-build", "s.py", status=125, prefix=UNPRIVILEGED)
    base.parent.chmod(0o755)
    assert "can't be reached by you" in told.stderr and "is gone" not in told.stderr
    assert project.call("exec", "--no-build", "s.py").stdout == "ran\n"


def test_a_base_python_upgraded_behind_its_path_is_seen_by_every_look(project: Project, base: Path) -> None:
    newer = other_python()
    if newer is None:
        pytest.skip("needs a second version of Python")
    project.script("s.py", ["alpha"], "import sys; print(sys.prefix)")
    project.build("s.py")
    put(base, real_python())
    retarget(project.environments[0], str(base))
    assert project.call("exec", "s.py").stdout.strip() == str(project.environments[0])
    put(base, newer)
    told = project.call("exec", "--no-build", "s.py", status=125)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
    assert f"was {version} and is" in told.stderr
    assert f"was {version} and is" in project.call("list").stdout
    found = json.loads(project.call("verify", "--json", status=1).stdout)["environments"][0]
    assert any(f"was {version} and is" in fault for fault in found["faults"])
    assert project.call("exec", "s.py").stdout.strip() == str(project.environments[1])


def test_the_same_version_in_another_file_is_no_change(project: Project, tmp_path: Path) -> None:
    """A distribution's patch to the interpreter changes its file, not its version: nothing is rebuilt."""
    project.script("s.py", ["alpha"], "print('ran')")
    project.build("s.py")
    manifest = project.environments[0] / "sharedenv.json"
    value = json.loads(manifest.read_text())
    value["interpreter"]["identity"] = "1-1"
    manifest.write_text(json.dumps(value))
    project.call("build", "s.py", env={"SHAREDENV_UV": "/nonexistent"})
    assert project.call("exec", "s.py").stdout == "ran\n"
    assert len(project.environments) == 1


def test_a_purged_file_is_found_by_build_and_by_run(project: Project) -> None:
    project.script("s.py", ["beta"], "import alpha; print('ran')")
    project.build("s.py")
    with opened(project.environments[0]):
        module(project.environments[0]).unlink()
    told = project.call("build", "s.py")
    assert "alpha.py is gone" in told.stderr
    with opened(project.environments[1]):
        module(project.environments[1]).unlink()
    assert "ran" in project.call("run", "s.py").stdout
    assert len(project.environments) == 3
    with opened(project.environments[2]):
        module(project.environments[2]).unlink()  # after it has run well, too
    told = project.call("run", "--no-build", "s.py", status=3)
    assert "alpha.py is gone" in told.stderr
    assert "ran" in project.call("run", "s.py").stdout
    assert len(project.environments) == 4


def test_a_purge_of_the_pools_own_folders_and_links_is_mended(project: Project) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.build("s.py")
    for folder in ("tmp", "trash", "used", "locks", "failures", "logs", "keys", "index"):
        shutil.rmtree(project.pool / folder, ignore_errors=True)
    assert project.call("exec", "s.py").stdout == "ran\n"
    assert len(project.environments) == 1, "the environment was there and whole: it is taken up again"
    project.call("prune")


def test_what_was_installed_into_an_environment_is_found_by_build(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.build("s.py")
    site = module(project.environments[0]).parent
    os.chmod(site, 0o755)
    (site / "intruder.py").write_text("")
    told = project.call("build", "s.py")
    assert "intruder.py is there that it was not built with" in told.stderr
    assert len(project.environments) == 2


def test_folders_of_an_environment_are_read_only_and_files_keep_their_modes(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.build("s.py")
    for folder, _, files in os.walk(project.environments[0]):
        assert os.stat(folder).st_mode & 0o222 == 0, folder
        assert all(os.lstat(os.path.join(folder, file)).st_mode & 0o200 for file in files)


def test_a_project_that_was_moved_runs_on_without_a_build(project: Project, tmp_path: Path) -> None:
    project.script("case/s.py", ["tool"], "import tool, subprocess; subprocess.run(['tool'])")
    key = project.call("key", "case/s.py").stdout.split()[0]
    project.build("case/s.py")
    moved = Project(tmp_path / "else where", project.env)
    project.path.rename(moved.path)
    assert moved.call("key", "case/s.py").stdout.split()[0] == key
    done = moved.call("exec", "case/s.py", env={"SHAREDENV_UV": "/nonexistent"})
    assert done.stdout.strip() == f"tool in {moved.environments[0]}"
    moved.call("verify")
    moved.path.rename(project.path)


@pytest.mark.parametrize("options", [["-a"], ["-r"], ["-rL"]], ids=["cp -a", "cp -r", "cp -rL"])
def test_a_copied_project_works_or_is_built_anew(project: Project, tmp_path: Path, options: list[str]) -> None:
    """-r loses times, -L makes folders of the links that publish a key."""
    project.script("s.py", ["alpha"], "import sys; print(sys.prefix)")
    project.build("s.py")
    copy = Project(tmp_path / "copy", project.env)
    os.system(f"cp {options[0]} '{project.path}' '{copy.path}'")
    assert copy.call("exec", "s.py").stdout.startswith(str(copy.pool))
    copy.call("build", "s.py")
    assert copy.call("exec", "--no-build", "s.py").stdout.startswith(str(copy.pool))


def test_an_environment_of_a_newer_glibc_is_named_and_built_anew(project: Project) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.build("s.py")
    manifest = project.environments[0] / "sharedenv.json"
    value = json.loads(manifest.read_text())
    assert value["glibc"] == ""
    value["glibc"] = "99.1"
    manifest.write_text(json.dumps(value))
    shutil.rmtree(project.pool / "index")  # a real move to another C library differs in what the fast way compares, too
    told = project.call("exec", "--no-build", "s.py", status=125)
    assert "it was built for glibc 99.1, and this machine has" in told.stderr
    assert project.call("exec", "s.py").stdout == "ran\n"


def test_another_platforms_environment_has_another_key(project: Project) -> None:
    project.script("s.py", ["alpha"])
    document = json.loads(project.call("key", "--json", "s.py").stdout)
    (payload,) = document["payloads"].values()
    assert payload["platform"].startswith("linux-")


@pytest.mark.parametrize(
    ("tags", "needed"),
    [
        (["py3-none-any"], ""),
        (["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"], "2.17"),
        (["cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64"], "2.27"),
        (["cp311-cp311-manylinux1_x86_64"], "2.5"),
        (["cp311-cp311-linux_x86_64"], "2.36"),
    ],
)
def test_the_glibc_that_wheels_need_is_read_from_their_tags(tmp_path: Path, tags: list[str], needed: str) -> None:
    info = tmp_path / "x-1.dist-info"
    info.mkdir()
    (info / "WHEEL").write_text("Wheel-Version: 1.0\n" + "".join(f"Tag: {tag}\n" for tag in tags))
    assert required_glibc(str(tmp_path), Contents({"x-1.dist-info/WHEEL": 1}, ()), "2.36") == needed


def test_glibc_versions_compare_as_numbers() -> None:
    assert glibc_fault("2.9", "2.17") is None
    assert glibc_fault("2.28", "2.17") == "it was built for glibc 2.28, and this machine has 2.17"
    assert glibc_fault("", "2.17") is None
    assert glibc_fault("2.28", "") is None
