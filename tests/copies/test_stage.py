"""Copies of environments on node-local disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import UNPRIVILEGED, Project, opened

SHOW = "import sys, tool; print(sys.prefix, tool.__file__)"


def built(project: Project, dependency: str = "tool", name: str = "case1/script.py") -> Path:
    project.script(name, [dependency], SHOW)
    project.build(name)
    return project.environments[-1]


def copies(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir()]


def test_a_copy_is_used_by_exec_and_activate(project: Project, tmp_path: Path) -> None:
    """Imports and console scripts come from the copy, SHAREDENV_STAGE says where; -v says so."""
    environment = built(project)
    local = tmp_path / "local disk"
    assert project.call("stage", "case1/script.py", "--to", str(local)).stdout == f"{local}\n"
    [copy] = copies(local)
    env = {"SHAREDENV_STAGE": str(local)}
    done = project.call("-v", "exec", "case1/script.py", env=env)
    assert done.stdout.startswith(f"{copy} {copy}/lib/")
    assert f"using the copy {copy}" in done.stderr
    assert f"VIRTUAL_ENV='{copy}'" in project.call("activate", "--shell", "sh", "case1/script.py", env=env).stdout
    assert subprocess.check_output([copy / "bin" / "tool"], text=True) == f"tool in {copy}\n"
    assert environment.exists()


def test_without_a_copy_the_pool_is_used(project: Project, tmp_path: Path) -> None:
    environment = built(project)
    done = project.call("-v", "exec", "case1/script.py", env={"SHAREDENV_STAGE": str(tmp_path / "nothing")})
    assert done.stdout.startswith(f"{environment} ")
    assert "using the pool's" in done.stderr
    assert "using" not in project.call("exec", "case1/script.py", env={"SHAREDENV_STAGE": str(tmp_path)}).stderr


def test_a_copy_has_the_same_files_times_and_modes(project: Project, tmp_path: Path) -> None:
    environment = built(project)
    project.call("stage", "case1/script.py", "--to", str(tmp_path / "local"))
    [copy] = copies(tmp_path / "local")

    def described(root: Path) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for path in [root, *root.rglob("*")]:
            status = path.lstat()
            content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            if path == root / "bin" / "tool":
                assert content is not None
                first = content.index(b"# -*- coding")  # before it stands the place, in one of two forms by its length
                assert bytes(root) in content[:first]
                content = content[first:]
            time = None if path == root or path.is_symlink() else int(status.st_mtime)
            found[str(path.relative_to(root))] = (status.st_mode, time, content)
        return found

    assert described(copy) == described(environment)


def test_processes_of_one_node_unpack_once(project: Project, tmp_path: Path) -> None:
    """Eight at once: one says that it staged, each prints the folder, one archive is made."""
    built(project)
    local = tmp_path / "local"
    processes = [project.start("stage", "case1/script.py", "--to", str(local)) for _ in range(8)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert {stdout for stdout, _ in outputs} == {f"{local}\n"}
    assert sum("staged environment" in stderr for _, stderr in outputs) == 1
    assert len(copies(local)) == 1
    assert len(list((project.pool / "archives").iterdir())) == 1


def test_nodes_make_one_archive(project: Project, tmp_path: Path) -> None:
    """Each node has its own disk; the archive is the pool's."""
    built(project)
    processes = [project.start("stage", "case1/script.py", "--to", str(tmp_path / f"node{n}")) for n in range(4)]
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    [archive] = (project.pool / "archives").iterdir()
    assert [len(copies(tmp_path / f"node{n}")) for n in range(4)] == [1, 1, 1, 1]
    assert not list((project.pool / "tmp").iterdir())
    before = archive.stat().st_mtime_ns
    project.call("stage", "case1/script.py", "--to", str(tmp_path / "node9"))
    assert archive.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_a_damaged_archive_is_never_used_and_made_once_more(damage: str, project: Project, tmp_path: Path) -> None:
    built(project)
    project.call("stage", "case1/script.py", "--to", str(tmp_path / "one"))
    [archive] = (project.pool / "archives").iterdir()
    data = bytearray(archive.read_bytes())
    if damage == "changed":
        data[data.index(b"def main()")] ^= 1
    else:
        del data[len(data) // 2 :]
    whole = archive.read_bytes()
    archive.write_bytes(data)
    archive.parent.chmod(0o555)
    done = project.call("stage", "case1/script.py", "--to", str(tmp_path / "two"), prefix=UNPRIVILEGED, status=1)
    assert "its archive in the pool is damaged" in done.stderr
    assert not copies(tmp_path / "two")
    archive.parent.chmod(0o755)
    project.call("stage", "case1/script.py", "--to", str(tmp_path / "two"))
    assert len(copies(tmp_path / "two")) == 1
    assert archive.read_bytes() == whole, "it was made once more"


def test_a_copy_that_lost_files_is_made_anew(project: Project, tmp_path: Path) -> None:
    """What cleans /tmp by age takes single files; the copy is whole again for what runs from it, too."""
    built(project)
    local = tmp_path / "local"
    project.call("stage", "case1/script.py", "--to", str(local))
    [copy] = copies(local)
    [module] = copy.rglob("tool.py")
    for folder in (copy, *module.parents):
        if folder.is_relative_to(copy):
            folder.chmod(0o755)
    module.unlink()
    assert "staged environment" in project.call("stage", "case1/script.py", "--to", str(local)).stderr
    assert copies(local) == [copy]
    assert module.exists()
    assert copy.stat().st_mode & 0o777 == 0o555
    done = project.call("exec", "case1/script.py", env={"SHAREDENV_STAGE": str(local)})
    assert done.stdout.startswith(f"{copy} ")


@pytest.mark.root
def test_a_copy_that_another_user_prepared_is_never_used(project: Project, tmp_path: Path) -> None:
    """Its name can be known beforehand, and the folder is often everybody's."""
    if os.getuid() != 0:
        pytest.skip("chown needs root")
    environment = built(project)
    local = tmp_path / "local"
    project.call("stage", "case1/script.py", "--to", str(local))
    [copy] = copies(local)
    os.chown(copy, 12345, 12345)
    done = project.call("-v", "exec", "case1/script.py", env={"SHAREDENV_STAGE": str(local)})
    assert done.stdout.startswith(f"{environment} ")
    assert f"{copy} is in the way: it belongs to 12345" in project.call("stage", "case1/script.py", "--to", str(local), status=1).stderr
    os.chown(copy, 0, 0)
    copy.chmod(0o777)
    assert "using the pool's" in project.call("-v", "exec", "case1/script.py", env={"SHAREDENV_STAGE": str(local)}).stderr


def test_a_folder_that_can_not_be_written_is_an_error(project: Project, tmp_path: Path) -> None:
    built(project)
    (tmp_path / "local").mkdir(mode=0o555)
    done = project.call("stage", "case1/script.py", "--to", str(tmp_path / "local"), prefix=UNPRIVILEGED, status=1)
    assert "  cause: Permission denied\n" in done.stderr


def test_a_folder_can_be_shared(project: Project, tmp_path: Path) -> None:
    """The lock that another user left there: nobody else could take it."""
    built(project)
    local = tmp_path / "local"
    local.mkdir()
    local.chmod(0o775)
    project.call("stage", "case1/script.py", "--to", str(local), prefix=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    (lock,) = local.glob("*.lock")
    assert lock.stat().st_mode & 0o777 == 0o640
    [copy] = copies(local)
    with opened(copy):
        copy.rename(tmp_path / "away")
    lock.chmod(0o444)
    project.call("stage", "case1/script.py", "--to", str(local), prefix=UNPRIVILEGED)
    assert len(copies(local)) == 1


def test_a_missing_environment_is_an_error(project: Project, tmp_path: Path) -> None:
    project.script("case1/script.py", ["alpha"])
    done = project.call("stage", "case1/script.py", "--to", str(tmp_path / "local"), status=3)
    assert "hint: sharedenv build case1/script.py" in done.stderr


def test_the_default_folder_is_the_user_s_alone(project: Project, tmp_path: Path) -> None:
    built(project)
    folder = tmp_path / f"sharedenv-{os.getuid()}"
    assert project.call("stage", "case1/script.py", env={"TMPDIR": str(tmp_path)}).stdout == f"{folder}\n"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert "only you" in project.call("stage", "case1/script.py", env={"TMPDIR": str(tmp_path)}, status=1).stderr
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "only you" in project.call("stage", "case1/script.py", env={"TMPDIR": str(tmp_path)}, status=1).stderr


def test_slurm_s_own_folder_comes_first(project: Project, tmp_path: Path) -> None:
    built(project)
    env = {"TMPDIR": str(tmp_path), "SLURM_TMPDIR": str(tmp_path / "job")}
    assert project.call("stage", "case1/script.py", env=env).stdout == f"{tmp_path / 'job'}\n"


def test_a_rebuilt_environment_is_another_copy(project: Project, tmp_path: Path) -> None:
    """The name of a build may come again after a prune: its manifest tells the copies apart."""
    environment = built(project)
    local = tmp_path / "local"
    project.call("stage", "case1/script.py", "--to", str(local))
    subprocess.run(["chmod", "-R", "u+w", environment], check=True)
    subprocess.run(["rm", "-r", environment, project.pool / "keys"], check=True)
    (project.pool / "keys").mkdir()
    assert built(project) == environment
    done = project.call("-v", "exec", "case1/script.py", env={"SHAREDENV_STAGE": str(local)})
    assert "using the pool's" in done.stderr
    before = copies(local)
    project.call("stage", "case1/script.py", "--to", str(local))
    assert len(copies(local)) == 1, "nothing is started from the other one any more"
    assert copies(local) != before


def test_prune_takes_the_archive_of_an_environment_that_is_gone(project: Project, tmp_path: Path) -> None:
    environment = built(project)
    project.call("stage", "case1/script.py", "--to", str(tmp_path / "local"))
    project.call("prune")
    assert len(list((project.pool / "archives").iterdir())) == 1
    subprocess.run(["chmod", "-R", "u+w", environment], check=True)
    subprocess.run(["rm", "-r", environment], check=True)
    project.call("prune")
    assert not list((project.pool / "archives").iterdir())


@pytest.mark.root
@pytest.mark.parametrize(("options", "word"), [("size=64k", "bytes"), ("size=20m,nr_inodes=12", "inodes")])
def test_room_is_checked_first(options: str, word: str, project: Project, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("mounting needs root")
    built(project)
    disk = tmp_path / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("tmpfs can't be mounted here")
    try:
        done = project.call("stage", "case1/script.py", "--to", str(disk), status=1)
        assert f"{word}, and" in done.stderr
        assert not copies(disk)
    finally:
        subprocess.run(["umount", disk], check=True)
