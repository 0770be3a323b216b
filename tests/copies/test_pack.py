"""Environments packed into one archive each, and unpacked again: by `prune --pack` and by whoever builds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sharedenv.pool.inventory import digest
from tests.build.test_drift import change
from tests.care.test_prune import age, finish, sleeper
from tests.conftest import Project, opened
from tests.faults import image, require, wait_for
from tests.key.test_canonical import PRINT_LIB, make_library
from tests.lab import ALICE, BOB, Lab, new_lab
from tests.wheels import make_wheel

NO_UV = {"SHAREDENV_UV": "/bin/false"}  #: who would resolve or install something fails
HINT = "hint: sharedenv build s.py\n"


@pytest.fixture
def lab(offline_env: dict[str, str], wheels: Path) -> Iterator[Lab]:
    with new_lab(offline_env, wheels) as lab:
        yield lab


def packed(project: Project) -> list[Path]:
    folder = project.pool / "packed"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def pack(project: Project, *dependencies: str, body: str = "print('ran')") -> Path:
    """The archive of an environment that was built, used, and not used for long."""
    project.script("s.py", dependencies or ["alpha"], body)
    project.call("exec", "s.py")
    age(project, 40)
    told = project.call("prune", "--pack")
    assert "packed 1 environment" in told.stderr and project.environments == []
    [archive] = packed(project)
    return archive


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """All that is below a folder: modes, whole seconds of the time, links and bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        when = None if path == root or path.is_symlink() else int(status.st_mtime)
        found[str(path.relative_to(root))] = (status.st_mode, when, content)
    return found


def test_what_comes_back_is_what_was_packed(project: Project) -> None:
    """Files, modes, times, links, bytecode and entry points, under the same name; by no uv, and its last use is noted."""
    project.script("s.py", ["tool"], "import tool; print(tool.__file__)")
    before = project.call("exec", "s.py").stdout
    age(project, 40)
    [environment] = project.environments
    was = described(environment)
    assert any(name.endswith(".pyc") for name in was)
    project.call("prune", "--pack")
    [archive] = packed(project)
    assert len(list(project.pool.rglob("*"))) < 30, "one entry stands for all"
    with tarfile.open(archive) as tar:
        assert tar.getnames()[:2] == ["sharedenv.json", "sharedenv.inventory"]
    told = project.call("build", "s.py", env=NO_UV).stderr
    assert "unpacked environment" in told and "built environment" not in told
    assert described(environment) == was and not packed(project)
    assert project.call("exec", "--no-build", "s.py").stdout == before
    assert subprocess.check_output([environment / "bin" / "tool"], text=True) == f"tool in {environment}\n"
    assert json.loads(project.call("verify", "--json").stdout)["environments"][0]["sound"]
    assert "kept" in project.call("prune").stdout, "unpacked now counts as used now"


def test_all_who_may_build_unpack_and_others_say_what_does(project: Project) -> None:
    pack(project)
    for command in (["exec", "--no-build", "s.py"], ["which", "s.py"], ["run", "--no-build", "s.py"], ["stage", "s.py", "--to", "st"]):
        told = project.call(*command, env=NO_UV, status=None)
        assert told.returncode != 0 and "error: an environment is packed in the pool" in told.stderr and told.stderr.endswith(HINT)
    assert "it was not used for long" in project.call("build", "--check", "s.py", status=1).stderr
    assert len(packed(project)) == 1, "they change nothing"
    for command in (["run", "s.py"], ["plan", "s.py"], ["exec", "s.py"]):
        project.call(*command, env=NO_UV)
        assert len(project.environments) == 1 and not packed(project)
        for run in (project.pool / "runs").iterdir():
            subprocess.run(["rm", "-r", run], check=True)  # what was planned needs it
        age(project, 40)
        project.call("prune", "--pack")


def test_all_that_look_know_it(project: Project) -> None:
    archive = pack(project)
    key = archive.name[:12]
    assert "s.py (packed)" in project.call("list").stdout and "; 1 packed)" in project.call("list").stderr
    [value] = json.loads(project.call("list", "--json").stdout)["environments"]
    assert (value["packed"], value["packed_bytes"], value["usable"], value["python"]) == (True, archive.stat().st_size, False, None)
    for name in ("s.py", key):
        assert "packed:" in project.call("show", name).stdout
        assert "alpha==2.0" in project.call("export", name).stdout
    assert "1 environment is packed" in project.call("doctor").stdout
    assert "1 of 1 environment sound" in project.call("verify").stderr
    assert "kept" in project.call("prune", "--pack").stdout and packed(project) == [archive]
    assert [item["name"] for item in json.loads(project.call("prune", "--json").stdout)["removed"]] == [f"{key}-1"]
    assert not packed(project), "without --pack it goes by age, as any other"


@pytest.mark.parametrize("part", ["middle", "beginning", "end"])
def test_a_damaged_archive_is_told_and_the_environment_built_with_the_versions_it_had(project: Project, part: str) -> None:
    archive = pack(project, "alpha==1.0")
    data = bytearray(archive.read_bytes())
    if part == "end":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 if part == "middle" else 30] ^= 1
    archive.write_bytes(data)
    assert "its archive" in project.call("verify", status=1).stdout
    told = project.call("build", "s.py").stderr
    assert "built environment" in told
    assert part == "beginning" or "its archive in the pool is damaged" in told
    assert project.call("exec", "--no-build", "s.py").stdout == "ran\n"
    project.call("prune")
    assert bool(packed(project)) == (part == "beginning"), "what it holds can't be told: it goes by age"
    assert "unfit" not in project.call("doctor").stdout


def test_repair_of_a_damaged_archive(project: Project) -> None:
    archive = pack(project)
    archive.write_bytes(archive.read_bytes()[:-10])
    assert "1 repaired" in project.call("verify", "--repair").stderr
    assert len(project.environments) == 1
    project.call("prune")
    assert not packed(project)


def test_rebuild_and_upgrade_work_on_what_is_packed(project: Project, tmp_path: Path) -> None:
    make_wheel(tmp_path / "index", "gamma", "1.0")
    env = {"UV_FIND_LINKS": str(tmp_path / "index")}
    project.env.update(env)
    pack(project, "gamma")
    make_wheel(tmp_path / "index", "gamma", "2.0")
    project.call("build", "--rebuild", "s.py")
    assert "gamma==1.0" in project.call("export", "s.py").stdout
    assert len(project.environments) == 2, "what was packed, and the new generation"
    age(project, 40)
    project.call("prune", "--pack")
    told = project.call("build", "--upgrade", "s.py").stderr
    assert "gamma 1.0 → 2.0" in told


@pytest.mark.parametrize("options", ["", ", editable = true"])
def test_a_local_package_comes_back_and_is_built_anew_where_its_folder_has_changed(project: Project, options: str) -> None:
    library = make_library(project.path / "lib")
    project.script("s.py", ["lib"], PRINT_LIB, extra=f'[tool.uv.sources]\nlib = {{ path = "lib"{options} }}')
    project.call("exec", "s.py")
    age(project, 40)
    assert "packed 1 environment" in project.call("prune", "--pack").stderr
    change(library)
    assert project.call("exec", "s.py", env=NO_UV).stdout == "1\n"
    age(project, 40)
    project.call("prune", "--pack")
    told = project.call("build", "s.py").stderr
    assert "unpacked environment" in told and "its sources have changed" in told
    assert project.call("exec", "s.py").stdout == "2\n"


def purge(environment: Path) -> None:
    next(environment.rglob("alpha.py")).unlink()


def edit(environment: Path) -> None:
    module = next(environment.rglob("alpha.py"))
    text = module.read_bytes()
    module.unlink()  # it may be the cache's, too
    module.write_bytes(text.replace(b" ", b"\n"))


def add(environment: Path) -> None:
    (next(environment.rglob("alpha.py")).parent / "more.py").write_text("")


@pytest.mark.parametrize("spoil", [purge, edit, add])
def test_what_is_not_as_it_was_built_is_not_packed_and_stays(project: Project, spoil: Callable[[Path], None]) -> None:
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    age(project, 40)
    [environment] = project.environments
    with opened(environment):
        spoil(environment)
    told = project.call("prune", "--pack")
    assert f"kept {environment.name}: it can't be packed: " in told.stdout
    assert project.environments == [environment] and not packed(project) and not list((project.pool / "tmp").iterdir())


def test_files_that_are_links_elsewhere_are_not_packed(project: Project, tmp_path: Path) -> None:
    """Link-mode symlink has made such environments: an archive of links would hold nothing."""
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    [environment] = project.environments
    module = next(environment.rglob("alpha.py"))
    away = tmp_path / "cache.py"
    away.write_bytes(module.read_bytes())
    inventory, manifest = environment / "sharedenv.inventory", environment / "sharedenv.json"
    with opened(environment):
        module.unlink()
        module.symlink_to(away)
        value = json.loads(inventory.read_text())
        value["files"].pop(str(module.relative_to(environment)))
        value["links"][str(module.relative_to(environment))] = str(away)
        inventory.write_text(json.dumps(value))
        document = json.loads(manifest.read_text())
        document["inventory"] = digest(inventory.read_bytes())
        manifest.write_text(json.dumps(document))
    age(project, 40)
    assert "it can't be packed: 1 of its files are links" in project.call("prune", "--pack").stdout


def test_what_runs_is_not_packed(project: Project) -> None:
    process = sleeper(project)
    age(project, 40)
    assert "in use by process" in project.call("prune", "--pack").stdout
    assert not packed(project)
    assert finish(process) == "fine\n"


def test_what_an_unfinished_run_needs_is_not_packed(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.call("plan", "s.py")
    age(project, 40)
    assert "kept" in project.call("prune", "--pack").stdout and not packed(project)


def test_who_starts_while_it_is_packed_is_not_kept_waiting_and_keeps_it(project: Project) -> None:
    """An archive takes its time: no lock is held meanwhile, and who came in between is seen before anything goes."""
    require("strace", root=False)
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("exec", "s.py")
    age(project, 40)
    mark = str(project.pool / "packed")
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", mark, "-e", "trace=fsync,mkdir", "-e", "inject=fsync:delay_enter=3000000"]
    process = project.start("prune", "--pack", prefix=slow)
    wait_for(lambda: bool(packed(project)))
    assert project.call("exec", "--no-build", "s.py").stdout == "ran\n"
    stdout, stderr = process.communicate(timeout=120)
    assert "used just now" in stdout, stdout + stderr
    assert len(project.environments) == 1 and not packed(project), "an archive beside it is rubbish"


def test_two_at_once_pack_once_and_unpack_once(project: Project) -> None:
    project.script("s.py", ["alpha", "tool"], "import tool")
    project.call("exec", "s.py")
    age(project, 40)
    for command, there in ((("prune", "--pack"), False), (("build", "s.py"), True)) * 2:
        processes = [project.start(*command, env=NO_UV) for _ in range(4)]
        told = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, told
        assert (len(project.environments), len(packed(project))) == ((1, 0) if there else (0, 1))
        if there:
            assert sum("unpacked environment" in stderr for _, stderr in told) == 1
            project.call("exec", "--no-build", "s.py")
            age(project, 40)


#: what a process does to names, and where it waits for the disk
CALLS = "rename,renameat,renameat2,symlink,symlinkat,unlink,unlinkat,fsync,syncfs"


def kills(project: Project, command: Sequence[str], every: int) -> Iterator[bool]:
    """The command, killed at the first of those calls, then at the one ``every`` further; yields whether it was killed."""
    require("strace", root=False)
    when = 1
    while True:
        killing = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", f"inject={CALLS}:signal=KILL:when={when}"]
        status = project.call(*command, env=NO_UV, prefix=killing, status=None).returncode
        yield status in (-signal.SIGKILL, 128 + signal.SIGKILL)
        if status == 0:
            return
        when += every


@pytest.mark.slow
def test_killed_at_any_instant_of_packing_nothing_is_lost(project: Project) -> None:
    """Whatever was done by then, a build finds the environment or its archive: there is no uv that could make it anew."""
    project.script("s.py", ["alpha"], "import alpha; print('ran')")
    project.call("exec", "s.py")
    age(project, 40)
    killed = 0
    for was_killed in kills(project, ["prune", "--pack"], 3):
        killed += was_killed
        assert project.call("run", "s.py", env=NO_UV).stdout == "ran\n"
        assert len(project.environments) == 1
        age(project, 40)
    assert killed >= 5
    assert "1 of 1 environment sound" in project.call("verify").stderr
    age(project, 1)
    project.call("prune", "--pack")
    assert not packed(project) and not [path for path in (project.pool / "tmp").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_killed_at_any_instant_of_unpacking_nothing_is_lost(project: Project) -> None:
    archive = pack(project, body="import alpha; print('ran')")
    data, killed = archive.read_bytes(), 0
    for was_killed in kills(project, ["build", "s.py"], 2):
        killed += was_killed
        done = project.call("exec", "--no-build", "s.py", status=None)
        assert done.returncode == 125 or done.stdout == "ran\n", "whole, or not there at all"
        assert project.call("build", "s.py", env=NO_UV)
        assert project.call("exec", "--no-build", "s.py").stdout == "ran\n"
        assert "1 of 1 environment sound" in project.call("verify").stderr
        age(project, 40)
        project.call("prune", "--pack")
        [archive] = packed(project)
        assert len(archive.read_bytes()) - len(data) in range(-40, 40)
    assert killed >= 3


@pytest.mark.root
def test_a_full_disk_packs_nothing_and_unpacks_nothing(project: Project, tmp_path: Path) -> None:
    require("mkfs.ext4", "mount")
    make_wheel(tmp_path / "more", "big", "1.0", modules={"big.py": "".join(f"x{i} = {hash(str(i))!r}\n" for i in range(60_000))})
    with image(tmp_path / "disk", 16, "mkfs.ext4", "-q", "-m0") as disk:
        there = Project(disk / "project", {**project.env, "UV_FIND_LINKS": str(tmp_path / "more"), "UV_LINK_MODE": "copy"})
        there.path.mkdir()
        there.script("s.py", ["big"], "print('ran')")
        there.call("exec", "--no-compile", "s.py")
        age(there, 40)
        filler = disk / "filler"

        def fill(left: int) -> None:
            free = os.statvfs(disk)
            filler.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - left))

        fill(100_000)
        assert "it can't be packed: No space left on device" in there.call("prune", "--pack").stdout
        assert not packed(there) and len(there.environments) == 1 and not list((there.pool / "tmp").iterdir())
        filler.unlink()
        there.call("prune", "--pack")
        assert len(packed(there)) == 1
        fill(400_000)
        told = there.call("build", "s.py", env=NO_UV, status=3)
        assert "No space left on device" in told.stderr and "df -h -i" in told.stderr
        assert len(packed(there)) == 1 and there.environments == [] and not list((there.pool / "tmp").iterdir())
        filler.unlink()
        assert there.call("exec", "s.py", env=NO_UV).stdout == "ran\n"
        there.end()


@pytest.mark.root
def test_members_of_a_shared_pool_unpack_what_a_colleague_has_packed(lab: Lab) -> None:
    lab.project.chmod(0o2775)
    lab.script("case1/script.py", body="import alpha; print('ran')")
    lab.call(ALICE, "build", "--shared-group", "case1/script.py")
    assert "who alone can remove it" in lab.call(BOB, "prune", "--pack", "--unused-for", "0s").stdout
    lab.call(ALICE, "prune", "--pack", "--unused-for", "0s", umask=0o077)
    [archive] = (lab.pool / "packed").iterdir()
    assert archive.stat().st_uid == ALICE and archive.stat().st_mode & 0o777 == 0o640
    assert "unpacked environment" in lab.call(BOB, "build", "case1/script.py", umask=0o077, SHAREDENV_UV="/bin/false").stderr
    assert lab.call(ALICE, "exec", "--no-build", "case1/script.py").stdout == "ran\n"
    assert not list((lab.pool / "packed").iterdir())


def test_a_stranger_s_archive_is_not_believed(project: Project) -> None:
    if os.getuid() != 0:
        pytest.skip("chown needs root")
    archive = pack(project)
    os.chown(archive, BOB, BOB)
    told = project.call("build", "s.py").stderr
    assert f"is not to be believed: it belongs to {BOB}" in told and "built environment" in told


def test_an_older_sharedenv_builds_anew_and_what_it_leaves_is_rubbish(project: Project) -> None:
    """It knows no packed/: the key is not built, and it passes the archive by. What it builds counts from then on."""
    pack(project)
    (project.pool / "packed").rename(project.path / "aside")
    project.call("build", "s.py")  # as one does that looks for none
    (project.path / "aside").rename(project.pool / "packed")
    assert project.call("exec", "--no-build", "s.py").stdout == "ran\n"
    [value] = json.loads(project.call("list", "--json").stdout)["environments"]
    assert value["packed"] is False
    assert [Path(item["path"]).parent.name for item in json.loads(project.call("prune", "--json").stdout)["rubbish"]] == ["packed"]
    assert not packed(project)


def test_a_name_that_is_taken_meanwhile_is_no_hindrance(project: Project) -> None:
    """The environment gets the next number, and its entry points work all the same."""
    project.script("s.py", ["tool"], "import subprocess, sys; print(sys.prefix, flush=True); subprocess.run(['tool'])")
    project.call("build", "s.py")
    project.call("prune", "--pack", "--unused-for", "0s")
    taken = project.pool / "envs" / f"{packed(project)[0].name[:12]}-1"
    taken.mkdir()
    there = taken.with_name(f"{taken.name[:-1]}2")
    project.call("build", "s.py", env=NO_UV)
    assert project.call("exec", "s.py").stdout.splitlines() == [str(there), f"tool in {there}"]


def remade(archive: Path, change: Callable[[dict[str, bytes], dict[str, str]], None]) -> None:
    """Another archive in its place, well formed, with every digest right, as a member of the group could make one: ``change`` is given
    its files and its links by name.
    """
    with tarfile.open(archive) as tar:
        members = list(tar)
        files = {member.name: tar.extractfile(member).read() for member in members if member.isreg()}  # type: ignore[union-attr]
    links = {member.name: member.linkname for member in members if member.issym()}
    known = {member.name: member for member in members}
    change(files, links)
    inventory, manifest = json.loads(files["sharedenv.inventory"]), json.loads(files["sharedenv.json"])
    inventory["links"] = {name: links[name] for name in inventory["links"]}
    files["sharedenv.inventory"] = json.dumps(inventory).encode()
    manifest["inventory"] = digest(files["sharedenv.inventory"])
    files["sharedenv.json"] = json.dumps(manifest).encode()
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as stream, tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name in dict.fromkeys([*known, *files]):
            member = known.get(name) or tarfile.TarInfo(name)
            member.size, member.linkname = len(files.get(name, b"")), links.get(name, "")
            tar.addfile(member, io.BytesIO(files.get(name, b"")))
    data = buffer.getvalue()
    archive.unlink()
    identity = f"{archive.name[:14]}-{hashlib.sha256(files['sharedenv.json']).hexdigest()[:12]}"
    archive.with_name(f"{identity}.{hashlib.sha256(data).hexdigest()}.tar.gz").write_bytes(data)


def test_an_archive_whose_python_is_not_here_is_of_no_use_and_the_rest_is_built(project: Project) -> None:
    def change(_: dict[str, bytes], links: dict[str, str]) -> None:
        links.update({name: "/nowhere/python3" for name in links if links[name].startswith("/")})

    remade(pack(project), change)
    told = project.call("build", "s.py").stderr
    assert "is of no use: its Python" in told and "built environment" in told


@pytest.mark.parametrize("name", ["{}/PLANTED", "../PLANTED", "lib/more.py"])
def test_an_archive_of_something_else_is_not_unpacked(project: Project, tmp_path: Path, name: str) -> None:
    def change(files: dict[str, bytes], _: dict[str, str]) -> None:
        files[name.format(tmp_path)] = b""

    remade(pack(project), change)
    told = project.call("build", "s.py").stderr
    assert "is not what was built" in told and "built environment" in told
    assert not list(tmp_path.rglob("PLANTED"))


def test_an_archive_of_other_bytes_is_not_unpacked(project: Project) -> None:
    def change(files: dict[str, bytes], _: dict[str, str]) -> None:
        name = next(name for name in files if name.endswith("alpha.py"))
        files[name] = files[name].replace(b" ", b"\t")

    remade(pack(project), change)
    assert "alpha.py' is not what was built" in project.call("build", "s.py").stderr
