"""A private pool in a folder of a group, under the umask of many clusters: what it holds, others may not write."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.faults import require
from tests.lab import ALICE, BOB, LAB, WRITABLE, Lab, hint_of, new_lab

FAILS = "raise SystemExit(1)"


@pytest.fixture
def lab(offline_env: dict[str, str], wheels: Path) -> Iterator[Lab]:
    with new_lab(offline_env, wheels) as lab:
        yield lab


def default_acl(folder: Path, group: int) -> None:
    """What is made below has the right to write for a group, whatever the umask (`setfacl -d -m g:GROUP:rwx`)."""
    rows = [(0x01, 7, 0xFFFFFFFF), (0x04, 5, 0xFFFFFFFF), (0x08, 7, group), (0x10, 7, 0xFFFFFFFF), (0x20, 5, 0xFFFFFFFF)]
    try:
        os.setxattr(folder, "system.posix_acl_default", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows))
    except OSError as error:
        pytest.skip(f"no ACLs on the disk of {folder}: {error.strerror}")


@pytest.mark.root
@pytest.mark.parametrize("mask", [0o002, 0o000, 0o007, "ACL"], ids=str)
def test_a_colleague_may_write_nothing_in_a_private_pool(lab: Lab, mask: int | str) -> None:
    if mask == "ACL":
        default_acl(lab.project, LAB)
    umask = mask if isinstance(mask, int) else 0o022
    lab.script("c1/script.py", body=FAILS)
    lab.script("c2/script.py", "no-such-package")
    lab.call(ALICE, "run", "c1/script.py", umask=umask, status=1)
    lab.call(ALICE, "build", "c2/script.py", umask=umask, status=3)
    lab.call(ALICE, "run", "--retry-failed", umask=umask, status=1)
    lab.call(ALICE, "stage", "--to", str(lab.home(ALICE) / "staged"), "c1/script.py", umask=umask)
    assert lab.run(BOB, *WRITABLE).stdout == ""
    assert lab.run(BOB, "find", str(lab.home(ALICE) / "staged"), "!", "-type", "l", "-writable", status=None).stdout == ""
    assert "nobody else may change what is in the pool" in lab.call(ALICE, "doctor").stdout
    assert lab.call(ALICE, "verify").returncode == 0
    (module,) = lab.environments[0].rglob("alpha.py")
    assert mask == "ACL" or module.stat().st_nlink > 1, "what uv unpacks for us is nobody else's to write: no copy is needed"


@pytest.mark.root
def test_files_of_uvs_cache_that_a_group_may_write_are_copied(lab: Lab) -> None:
    """As uv leaves them under umask 002: the copy is what was looked at, and the cache's file stays as it is."""
    lab.script("c1/script.py")
    lab.call(ALICE, "build", "c1/script.py")
    cache = lab.home(ALICE) / "cache"
    lab.run(ALICE, "chmod", "-R", "g+w", str(cache))
    lab.run(ALICE, "chgrp", "-R", str(LAB), str(cache))
    (cached,) = (path for path in cache.rglob("alpha.py"))
    assert lab.run(BOB, *WRITABLE).stdout, "the first environment has the files of the cache"
    lab.script("c1/script.py", "alpha>=1")
    lab.call(ALICE, "build", "c1/script.py")
    current = Path(lab.call(ALICE, "which", "c1/script.py").stdout).parent.parent
    assert lab.run(BOB, "find", str(current), "!", "-type", "l", "-writable").stdout == ""
    assert cached.stat().st_mode & 0o777 == 0o664
    assert lab.call(ALICE, "exec", "--no-build", "c1/script.py").stdout == "ran\n"


def test_a_file_of_uvs_cache_that_belongs_to_another_user_is_copied(project: Project, tmp_path: Path) -> None:
    """A link to it would be theirs to edit, whatever its mode."""
    require()
    project.env["UV_CACHE_DIR"] = str(tmp_path / "cache")
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    (cached,) = (tmp_path / "cache").rglob("alpha.py")
    os.chown(cached, BOB, LAB)
    project.call("build", "--rebuild", "s.py")
    (module,) = project.environments[1].rglob("alpha.py")
    assert module.stat().st_uid == os.geteuid() and module.stat().st_ino != cached.stat().st_ino
    project.call("verify", "s.py")


# ---------------------------------------------------------------- what an older version has left open


def opened(environment: Path, name: str) -> None:
    """Lets the group write a file of an environment, as older versions left them under umask 002."""
    (path,) = environment.glob(name)
    path.chmod(path.stat().st_mode | 0o020)


@pytest.mark.root
def test_a_colleagues_standard_library_is_not_started(lab: Lab) -> None:
    lab.script("c1/script.py", body="import sys; print(sys.prefix)")
    lab.call(ALICE, "build", "c1/script.py")
    environment = lab.environments[0]
    opened(environment, "pyvenv.cfg")
    lab.run(BOB, "sh", "-c", f"echo 'home = {lab.home(BOB)}' > {environment}/pyvenv.cfg")
    told = lab.call(ALICE, "exec", "--no-build", "c1/script.py", status=125).stderr
    assert "others may write its pyvenv.cfg" in told
    doctor = lab.call(ALICE, "doctor", status=1).stdout
    assert f"others may write pyvenv.cfg in environment {environment.name}" in doctor and "nobody else may" not in doctor
    lab.shell(ALICE, hint_of(doctor))
    assert lab.call(ALICE, "exec", "--no-build", "c1/script.py").stdout == f"{lab.environments[1]}\n"
    assert "nobody else may change what is in the pool" in lab.call(ALICE, "doctor").stdout


@pytest.mark.parametrize("command", [("exec", "--no-build"), ("which",), ("activate", "--no-build"), ("run", "--no-build"), ("build", "--check")])
@pytest.mark.parametrize("name", ["pyvenv.cfg", "sharedenv.json", "."])
def test_an_environment_whose_start_others_may_write_is_not_used(project: Project, command: tuple[str, ...], name: str) -> None:
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    environment = project.environments[0]
    (environment / name).chmod(0o775 if name == "." else 0o664)
    told = project.call(*command, "s.py", status=None)
    assert told.returncode in (1, 3, 125) and "ran" not in told.stdout
    assert "others may write" in told.stdout + told.stderr or command[0] == "build"
    assert "built environment" in project.call("build", "s.py").stderr
    assert project.call("exec", "s.py").returncode == 0


@pytest.mark.parametrize("name", ["lib/*/site-packages/alpha-*.dist-info/METADATA", "bin/activate", "lib/*/site-packages"])
def test_what_a_start_does_not_look_at_doctor_and_verify_name(project: Project, name: str) -> None:
    project.env["UV_CACHE_DIR"] = str(project.path / "cache")
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    environment = project.environments[0]
    opened(environment, name)
    assert "others may write its " in project.call("verify", status=1).stdout
    found = json.loads(project.call("doctor", "--json", status=1).stdout)["findings"]
    (trust,) = [finding for finding in found if finding["subject"] == "trust"]
    assert trust["level"] == "problem" and trust["hint"] == f"sharedenv verify --repair {environment.name}"
    project.call("verify", "--repair", environment.name)
    project.call("doctor")


def test_the_next_build_mends_what_a_lax_umask_left_in_uvs_cache(project: Project) -> None:
    """Built under umask 022 of a cache that was filled under 002: of each package one file is looked at."""
    project.env["UV_CACHE_DIR"] = str(project.path / "cache")
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    opened(project.environments[0], "lib/*/site-packages/alpha-*.dist-info/METADATA")
    assert "others may write into its alpha-" in project.call("build", "s.py").stderr
    assert len(project.environments) == 2


# ---------------------------------------------------------------- runs


@pytest.mark.root
@pytest.mark.parametrize("name", ["plan.jsonl", "run.json", "results-local.1.jsonl", "."])
def test_a_run_that_a_colleague_may_write_is_told_and_not_gone_on_with(lab: Lab, name: str) -> None:
    lab.script("c1/script.py", body=FAILS)
    lab.call(ALICE, "run", "c1/script.py", status=1)
    run = lab.last_run
    path = run / name
    path.chmod(path.stat().st_mode | 0o020)
    evil, planted = lab.home(BOB) / "evil.py", lab.home(ALICE) / "planted"
    evil.write_text(f"open({str(planted)!r}, 'w')")
    if name == "plan.jsonl":
        text = path.read_text().replace("c1/script.py", str(evil))
        lab.run(BOB, "sh", "-c", f"cat > {path} <<'end'\n{text}end")
    for words in (["run", "--retry-failed"], ["run", "--resume"], ["run", "--resume", "--run-id", run.name], ["submit", "--resume"], ["cancel"]):
        told = lab.call(ALICE, *words, status=2).stderr
        action = "cancel" if words == ["cancel"] else "go on with"
        assert f"error: can't {action} run {run.name}: others may have written what it says\n" in told
        assert f"  cause: {os.path.normpath(path)}: others may write into it\n" in told and hint_of(told) == f"chmod -R go-w {run}"
    assert f"others may have written what it says ({os.path.normpath(path)}: others may write into it)" in lab.call(ALICE, "status").stderr
    assert "vouch for" in lab.call(ALICE, "status", "--list", "failed").stderr
    (error,) = json.loads(lab.call(ALICE, "status", "--json").stdout)["errors"]
    assert error["hint"] == f"chmod -R go-w {run}"
    doctor = lab.call(ALICE, "doctor", status=1).stdout
    assert hint_of(doctor) == f"chmod -R go-w {lab.pool}/runs"
    lab.shell(ALICE, hint_of(doctor))
    lab.call(ALICE, "doctor")
    assert not planted.exists()
    assert "vouch" not in lab.call(ALICE, "status").stderr


@pytest.mark.root
@pytest.mark.parametrize("name", ["plan.jsonl", "results-local.2.jsonl"])
def test_a_file_of_a_colleague_in_a_run_is_not_believed(lab: Lab, name: str) -> None:
    """Put there while the folder was open to the group; a chmod of the folder takes nothing of it back."""
    lab.script("c1/script.py", body=FAILS)
    lab.call(ALICE, "run", "c1/script.py", status=1)
    run = lab.last_run
    run.chmod(0o2775)
    source = run / name.replace(".2.", ".1.")
    lab.run(BOB, "sh", "-c", f"cp {source} {run}/new && mv -f {run}/new {run}/{name}")
    run.chmod(0o2755)
    told = lab.call(ALICE, "run", "--resume", status=2).stderr
    assert f"  cause: {run}/{name}: it belongs to {BOB}\n" in told and "chmod" not in told


@pytest.mark.root
def test_in_a_shared_pool_the_run_of_a_colleague_is_looked_at_and_no_more(lab: Lab) -> None:
    lab.project.chmod(0o2775)
    lab.script("c1/script.py", body=FAILS)
    lab.call(ALICE, "build", "--shared-group", "c1/script.py")
    lab.call(BOB, "run", "c1/script.py", status=1)
    run = lab.last_run
    assert lab.run(ALICE, "find", str(run), "-writable").stdout == ""
    assert "1 failed" in lab.call(ALICE, "status").stdout
    lab.run(BOB, "chmod", "-R", "777", str(run))
    for words in (["run", "--retry-failed"], ["cancel"]):
        assert f"{run}: it belongs to {BOB}\n" in lab.call(ALICE, *words, status=2).stderr
    assert "nobody" not in lab.call(ALICE, "doctor").stdout, "it is bob's to mend"
    assert f"chmod -R go-w {lab.pool}/runs/*" in lab.call(BOB, "doctor", status=1).stdout


@pytest.mark.root
@pytest.mark.parametrize("name", [".", "slurm/1/plan.jsonl", "slurm/1/array.json"])
def test_a_task_of_an_array_believes_no_more(lab: Lab, name: str) -> None:
    lab.script("c1/script.py", body=FAILS)
    lab.call(ALICE, "run", "c1/script.py", status=1)
    run = lab.last_run
    make = (
        "import sys; from sharedenv.run.journal.runs import open_run; from sharedenv.cluster.arrays import How, create_array;"
        "run = open_run(*sys.argv[1:]); create_array(run, 1, run.cases(), 1, How(grace=0.1))"
    )
    lab.run(ALICE, "/usr/bin/python3", "-c", make, str(run.parent), run.name)
    assert lab.run(BOB, *WRITABLE).stdout == ""
    task = ["/usr/bin/python3", "-c", "import sys; from sharedenv.cli.worker import main; sys.exit(main())", str(run), "1"]
    path = run / name
    mode = path.stat().st_mode
    path.chmod(mode | 0o020)
    told = lab.run(ALICE, *task, status=2, SLURM_ARRAY_TASK_ID="1").stderr
    assert f"  cause: {os.path.normpath(path)}: others may write into it\n" in told and hint_of(told) == f"chmod -R go-w {run}"
    path.chmod(mode)
    assert "task 1: 0 succeeded, 1 failed" in lab.run(ALICE, *task, status=1, SLURM_ARRAY_TASK_ID="1").stderr


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=" ".join)
def test_scripts_and_what_they_are_told_to_write_have_the_umask_of_the_user(project: Project, options: tuple[str, ...]) -> None:
    if options and not sys.platform.startswith("linux"):
        pytest.skip("no fork server")
    project.script("c1/s.py", ["alpha"], "import os; open('made', 'w'); print(oct(os.umask(0)))")
    project.call("run", *options, "--capture", "out", "--joblog", "log", "c1/s.py", umask=0o002)
    assert (project.path / "c1/out").read_text() == "0o2\n"
    for name in ("c1/out", "c1/made", "log"):
        assert (project.path / name).stat().st_mode & 0o777 == 0o664, name
    assert project.call("exec", "c1/s.py", umask=0o007).stdout == "0o7\n"


def test_where_nothing_can_be_made_that_is_said(project: Project) -> None:
    """/proc says that there is no such file, of the folder that is to be made: its parents were made for ever."""
    project.script("s.py")
    told = project.call("--pool", "/proc/x/.sharedenv", "build", "s.py", status=3).stderr
    assert "can't make a pool at /proc/x/.sharedenv" in told and "No such file or directory" in told
