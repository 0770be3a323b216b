"""Archives that others may have written: nothing is made outside the folder of copies, nothing in it but what was built."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.faults import require
from tests.lab import ALICE, BOB, Lab, hint_of, new_lab

EVIL = b"raise SystemExit('planted')\n"


@pytest.fixture
def lab(offline_env: dict[str, str], wheels: Path) -> Iterator[Lab]:
    with new_lab(offline_env, wheels) as lab:
        yield lab


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode = kind, target, 0o755
    found.size = len(EVIL) if kind in (tarfile.REGTYPE, tarfile.CONTTYPE) else 0
    return found


def replaced(archive: Path, members: list[tarfile.TarInfo], *, before: bool = True, without: str = "") -> Path:
    """The archive with more members (before its own or behind), named by its new digest as another one would be."""
    written = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as new:
        own = [(each, old.extractfile(each) if each.isreg() else None) for each in old if each.name != without]
        more = [(each, io.BytesIO(EVIL)) for each in members]
        for each, source in [*more, *own] if before else [*own, *more]:
            new.addfile(each, source)
    data = written.getvalue()
    path = archive.with_name(f"{archive.name.split('.')[0]}.{hashlib.sha256(data).hexdigest()}.tar")
    path.write_bytes(data)
    return path


PLANTED = "PLANTED"
KINDS: dict[str, Callable[[Path], list[tarfile.TarInfo]]] = {
    "absolute": lambda outside: [member(str(outside / PLANTED))],
    "above": lambda outside: [member(f"../../{outside.name}/{PLANTED}")],
    "above, behind a folder": lambda outside: [member(f"lib/../../../{outside.name}/{PLANTED}")],
    "a folder": lambda outside: [member(str(outside / PLANTED), tarfile.DIRTYPE)],
    "below a link": lambda outside: [member("away", tarfile.SYMTYPE, str(outside)), member(f"away/{PLANTED}")],
    "below a link in the place of a folder": lambda outside: [member("lib", tarfile.SYMTYPE, str(outside)), member(f"lib/{PLANTED}")],
    "through a link": lambda outside: [member("pyvenv.cfg", tarfile.SYMTYPE, str(outside / PLANTED)), member("pyvenv.cfg")],
    "through bin/python": lambda outside: [member("bin/python", tarfile.SYMTYPE, str(outside / PLANTED)), member("bin/python")],
    "a link out": lambda outside: [member("lib/away", tarfile.SYMTYPE, str(outside))],
    "a hard link": lambda outside: [member("lib/hard", tarfile.LNKTYPE, str(outside / "precious"))],
    "through a hard link": lambda outside: [member("pyvenv.cfg", tarfile.LNKTYPE, str(outside / "precious")), member("pyvenv.cfg")],
    "a pipe": lambda _: [member("lib/pipe", tarfile.FIFOTYPE)],
    "a device": lambda _: [member("lib/null", tarfile.CHRTYPE)],
    "another kind of file": lambda _: [member("pyvenv.cfg", tarfile.CONTTYPE)],
    "another Python": lambda _: [member("bin/python")],
    "another text": lambda _: [member("pyvenv.cfg")],
    "one more module": lambda _: [member("lib/site.py")],
    "bytecode": lambda _: [member("lib/__pycache__/site.cpython-311.pyc")],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [True, False], ids=["first", "last"])
def test_what_is_not_of_the_environment_is_not_unpacked(project: Project, tmp_path: Path, kind: str, before: bool) -> None:
    """Whatever its name says of its digest. Where the archive can be, it is made once more."""
    project.script("s.py", ["alpha"], "import alpha; print('ran')")
    project.call("build", "s.py")
    project.call("stage", "s.py", "--to", str(tmp_path / "first"))
    [archive] = (project.pool / "archives").iterdir()
    (outside := tmp_path / "outside").mkdir()
    (outside / "precious").write_text("precious")
    replaced(archive, KINDS[kind](outside), before=before)
    archive.unlink()
    project.call("stage", "s.py", "--to", str(tmp_path / "local"))
    assert [path.name for path in outside.iterdir()] == ["precious"] and (outside / "precious").read_text() == "precious"
    [copy] = (path for path in (tmp_path / "local").iterdir() if path.is_dir())
    [first] = (path for path in (tmp_path / "first").iterdir() if path.is_dir())
    assert described(copy) == described(first)
    if kind != "bytecode":  # Python may have added some: it is passed over
        assert [path.name for path in (project.pool / "archives").iterdir()] == [archive.name], "it was made once more"
    assert project.call("exec", "s.py", env={"SHAREDENV_STAGE": str(tmp_path / "local")}).stdout == "ran\n"


def described(root: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(path.relative_to(root)): (path.lstat().st_mode, os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None)
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("kind", ["the group's to write", "another user's", "a link", "a pipe"])
def test_an_archive_that_is_not_ours_alone_is_not_read(project: Project, tmp_path: Path, kind: str) -> None:
    require()
    project.script("s.py", ["alpha"], "import alpha; print('ran')")
    project.call("build", "s.py")
    project.call("stage", "s.py", "--to", str(tmp_path / "first"))
    [archive] = (project.pool / "archives").iterdir()
    whole = archive.read_bytes()
    if kind == "the group's to write":
        archive.chmod(0o664)
    elif kind == "another user's":
        os.chown(archive, BOB, BOB)
    else:
        archive.unlink()
        (tmp_path / "elsewhere").write_bytes(whole)
        archive.symlink_to(tmp_path / "elsewhere") if kind == "a link" else os.mkfifo(archive)
    told = project.call("stage", "s.py", "--to", str(tmp_path / "local"), prefix=("timeout", "60"))
    assert "staged environment" in told.stderr
    assert archive.read_bytes() == whole and not archive.is_symlink()
    assert archive.stat().st_uid == os.geteuid() and archive.stat().st_mode & 0o777 == 0o644


def test_where_an_archive_can_not_be_made_again_the_error_says_why(project: Project, tmp_path: Path) -> None:
    require()
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    project.call("stage", "s.py", "--to", str(tmp_path / "first"))
    [archive] = (project.pool / "archives").iterdir()
    os.chown(archive, BOB, BOB)
    archive.parent.chmod(0o555)
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    told = project.call("stage", "s.py", "--to", str(tmp_path / "local"), prefix=prefix, status=1).stderr
    assert f"  cause: its archive in the pool is not to be believed: it belongs to {BOB}\n" in told
    assert hint_of(told) == f"sharedenv verify {project.environments[0].name}"
    assert [path.name for path in (tmp_path / "local").iterdir() if path.is_dir()] == []
    archive.parent.chmod(0o755)


# ---------------------------------------------------------------- a pool that alice and bob share


def share(lab: Lab, umask: int = 0o022) -> None:
    lab.project.chmod(0o2775)
    lab.script("case1/script.py", body="import alpha; print('ran')")
    lab.script("n1/script.py", "beta")
    lab.call(ALICE, "build", "--shared-group", "case1/script.py", "n1/script.py", umask=umask)


@pytest.mark.root
def test_a_members_archive_of_something_else_is_not_unpacked(lab: Lab) -> None:
    share(lab)
    lab.call(BOB, "stage", "--to", str(lab.home(BOB) / "st"), "case1/script.py")
    [archive] = (lab.pool / "archives").iterdir()
    evil = replaced(archive, [member(str(lab.home(ALICE) / PLANTED))])
    os.chown(evil, BOB, -1)
    archive.unlink()
    lab.call(ALICE, "stage", "--to", str(lab.home(ALICE) / "st"), "case1/script.py")
    assert not (lab.home(ALICE) / PLANTED).exists() and not evil.exists()
    assert lab.call(ALICE, "exec", "case1/script.py", SHAREDENV_STAGE=str(lab.home(ALICE) / "st")).stdout == "ran\n"


@pytest.mark.root
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], ids=oct)
def test_any_member_of_a_shared_pool_can_stage(lab: Lab, umask: int) -> None:
    share(lab, umask)
    assert (lab.pool / "archives").stat().st_mode & 0o7777 == (lab.pool / "envs").stat().st_mode & 0o7777 == lab.pool.stat().st_mode & 0o7777
    for user, script in ((ALICE, "case1/script.py"), (BOB, "n1/script.py")):
        lab.call(user, "stage", "--to", str(lab.home(user) / "st"), script, umask=umask)
    # each can use what the other has packed
    for user, script in ((BOB, "case1/script.py"), (ALICE, "n1/script.py")):
        told = lab.call(user, "stage", "--to", str(lab.home(user) / "st"), script, umask=umask)
        assert "staged environment" in told.stderr
    assert len(list((lab.pool / "archives").iterdir())) == 2


@pytest.mark.root
@pytest.mark.parametrize("gone", [False, True], ids=["closed", "gone"])
def test_archives_that_an_older_version_has_closed_are_opened_by_their_owner(lab: Lab, gone: bool) -> None:
    share(lab)
    (lab.pool / "archives").chmod(0o2755)
    told = lab.call(BOB, "stage", "--to", str(lab.home(BOB) / "st"), "n1/script.py", status=1).stderr
    assert hint_of(told) == f"ask {ALICE} to run: chmod g+w {lab.pool}/archives"
    if gone:
        shutil.rmtree(lab.pool / "archives")
    else:
        lab.call(ALICE, "stage", "--to", str(lab.home(ALICE) / "st"), "case1/script.py")
    lab.call(BOB, "stage", "--to", str(lab.home(BOB) / "st"), "n1/script.py")


@pytest.mark.parametrize("part", ["files", "links", "directories"])
@pytest.mark.parametrize("where", ["../PLANTED", "lib/../../PLANTED", "{}/PLANTED", "bad\0name"])
def test_an_inventory_that_names_what_is_elsewhere_is_not_believed(project: Project, tmp_path: Path, part: str, where: str) -> None:
    """What a member of the group has built is run by the others, and its inventory is that member's."""
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    environment = project.environments[0]
    inventory, manifest = environment / "sharedenv.inventory", environment / "sharedenv.json"
    name = where.format(tmp_path / "local")
    value = json.loads(inventory.read_text())
    if part == "directories":
        value[part].append(name)
    else:
        value[part][name] = [0, hashlib.sha256().hexdigest()] if part == "files" else "/"
    inventory.write_text(json.dumps(value))
    digest = "sha256:" + hashlib.sha256(inventory.read_bytes()).hexdigest()
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "inventory": digest}))
    told = project.call("stage", "s.py", "--to", str(tmp_path / "local"), status=1).stderr
    assert "Traceback" not in told and "its archive in the pool is " in told
    assert not list(tmp_path.rglob("PLANTED")) and not [path for path in (tmp_path / "local").iterdir() if path.is_dir()]
