"""Who may touch a pool: what others could have planted or may change is refused, and never followed out of the pool."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.build.test_build_faults import BUILD, HOLDER
from tests.care.test_verify import module as module_of
from tests.conftest import UNPRIVILEGED, Project, opened
from tests.faults import as_nobody, require, wait_for

NOBODY = 65534
GROUP = 65533  #: a group that nobody else has


def full_way(project: Project) -> None:
    """Empties the index, so that the next look-up goes by the key and reads the manifest."""
    for entry in (project.pool / "index").iterdir():
        entry.unlink()


def planted(project: Project, *, owner: int = NOBODY) -> None:
    """Gives the pool, all of it, to another user."""
    for folder, folders, files in os.walk(project.pool):
        for name in [*folders, *files]:
            os.lchown(os.path.join(folder, name), owner, owner)
    os.chown(project.pool, owner, owner)


@pytest.mark.root
def test_a_pool_of_another_user_is_refused_and_trusted_on_purpose(project: Project) -> None:
    require("mount")
    project.env["UV_CACHE_DIR"] = str(project.path / "cache")  # its files are the pool's: they are given away, too
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("build", "s.py")
    planted(project)
    for command in (["exec", "s.py"], ["which", "s.py"], ["build", "s.py"], ["run", "s.py"], ["verify"], ["prune"]):
        told = project.call(*command, status=125 if command[0] == "exec" else 2)
        assert f"the pool {project.pool} belongs to nobody, and you are root" in told.stderr
        assert "hint: export SHAREDENV_TRUST=nobody" in told.stderr
    for trust in ("nobody", "65534", str(project.pool), f"{project.path}/*", f"x:{project.pool}"):
        assert project.call("exec", "s.py", env={"SHAREDENV_TRUST": trust}).stdout == "ran\n", trust
    for trust in ("daemon", "65533", str(project.path), "/", "*", ""):
        project.call("exec", "s.py", env={"SHAREDENV_TRUST": trust}, status=125)
    assert project.call("list").stdout, "looking is no danger"


@pytest.mark.root
def test_an_environment_of_another_user_is_built_anew(project: Project) -> None:
    require("mount")
    project.script("s.py", ["alpha"], "import sys; print(sys.prefix)")
    project.call("build", "s.py")
    os.chown(project.environments[0], NOBODY, NOBODY)
    assert "it belongs to nobody" in project.call("exec", "--no-build", "s.py", status=125).stderr
    assert project.call("exec", "s.py").stdout.strip() == str(project.environments[1])


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757], ids=oct)
def test_a_pool_that_others_may_write_is_refused_with_the_chmod_to_run(project: Project, mode: int) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("build", "s.py")
    os.chmod(project.pool, mode)
    told = project.call("exec", "s.py", status=125)
    assert "may write into the pool" in told.stderr
    (hint,) = [line.removeprefix("hint: ") for line in told.stderr.splitlines() if line.startswith("hint: ")]
    subprocess.run(hint, shell=True, check=True)
    assert project.call("exec", "s.py").stdout == "ran\n"


def test_an_environment_that_others_may_write_is_built_anew(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    os.chmod(project.environments[0], 0o777)
    assert "others may write into it" in project.call("build", "s.py").stderr
    assert len(project.environments) == 2


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o077], ids=oct)
def test_what_is_made_is_never_writable_by_others_whatever_the_umask(project: Project, mask: int) -> None:
    project.env["UV_CACHE_DIR"] = str(project.path / "cache")
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("build", "s.py", umask=mask)
    assert project.call("exec", "s.py", umask=mask).stdout == "ran\n"
    for folder, _, files in os.walk(project.pool):
        mode = os.stat(folder).st_mode
        if Path(folder).parent.name not in ("runs", "locks"):
            assert mode & 0o022 == 0, folder
        if "envs" in Path(folder).parts:
            assert not [name for name in files if os.lstat(f"{folder}/{name}").st_mode & 0o120002 == 0o100002], folder
    if mask == 0o077:
        assert project.pool.stat().st_mode & 0o077 == 0


def test_a_file_of_uvs_cache_that_anybody_may_write_is_copied(project: Project, tmp_path: Path) -> None:
    """A hard link would let anybody edit what runs; the cache's file stays as it is."""
    project.env["UV_CACHE_DIR"] = str(tmp_path / "cache")
    project.script("s.py", ["alpha"], "import alpha; print('ran')")
    project.call("build", "s.py")
    cached = module_of(project.environments[0])
    os.chmod(cached, 0o666)
    project.call("build", "--rebuild", "s.py")
    assert module_of(project.environments[1]).stat().st_mode & 0o777 == 0o644
    assert cached.stat().st_mode & 0o777 == 0o666
    assert project.call("exec", "--no-build", "s.py").stdout == "ran\n"
    project.call("verify")


def test_a_link_in_place_of_an_environment_is_not_followed(project: Project, tmp_path: Path) -> None:
    project.script("s.py", ["alpha"], "import sys; print(sys.prefix)")
    project.call("build", "s.py")
    environment = project.environments[0]
    elsewhere = tmp_path / "elsewhere"
    os.chmod(environment, 0o755)
    shutil.move(environment, elsewhere)
    environment.symlink_to(elsewhere)
    assert project.call("which", "s.py", status=1).stdout == ""
    assert project.call("exec", "s.py").stdout.strip() != str(elsewhere)
    project.call("prune", "--unused-for", "0s")
    assert environment.is_symlink() and (elsewhere / "sharedenv.json").exists(), "nothing is removed through it"


@pytest.mark.parametrize(
    "target",
    ["/tmp/elsewhere", "../../elsewhere", "../envs/../../elsewhere", "../envs", "../envs/", "../envs/..", "../envs/x", "../envs/{other}"],
)
def test_a_key_that_leads_anywhere_else_counts_as_none(project: Project, target: str) -> None:
    project.script("s.py", ["alpha"], "import sys; print(sys.prefix)")
    project.script("o.py", ["beta"])
    project.call("build", "s.py", "o.py")
    key = project.call("key", "s.py").stdout.split()[0]
    other = Path(project.call("which", "o.py").stdout.strip()).parent.parent
    link = project.pool / "keys" / key
    link.unlink()
    link.symlink_to(target.format(other=other.name))
    full_way(project)
    assert project.call("which", "s.py", status=1).stdout == ""
    assert Path(project.call("exec", "s.py").stdout.strip()).name.startswith(key[:12])
    assert project.call("which", "s.py").stdout.strip().startswith(str(project.pool / "envs" / key[:12]))


@pytest.mark.parametrize("folder", ["envs", "keys", "index", "tmp", "trash"])
def test_a_folder_of_the_pool_that_others_may_write_is_refused_before_anything_is_built_or_removed(
    project: Project, folder: str
) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("build", "s.py")
    path = project.pool / folder
    os.chmod(path, 0o777)
    for command in ("build", "run", "prune", "verify"):
        told = project.call(command, *(["s.py"] if command in ("build", "run") else []), status=2)
        assert f"others may write into {path}" in told.stderr
    (hint,) = [line.removeprefix("hint: ") for line in told.stderr.splitlines() if line.startswith("hint: ")]
    subprocess.run(hint, shell=True, check=True)
    assert project.call("run", "s.py").stdout == "ran\n"


@pytest.mark.parametrize("folder", ["envs", "keys", "tmp", "trash", "runs"])
def test_a_link_in_place_of_a_folder_of_the_pool_is_not_followed(project: Project, tmp_path: Path, folder: str) -> None:
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    elsewhere = tmp_path / "elsewhere"
    (project.pool / folder).rename(elsewhere)
    (project.pool / folder).symlink_to(elsewhere)
    (elsewhere / "precious").mkdir()
    for command in (["build", "--rebuild", "s.py"], ["prune", "--all"]):
        assert f"{project.pool / folder} is a link" in project.call(*command, status=2).stderr
    assert (elsewhere / "precious").is_dir()


def test_hints_can_be_pasted_whatever_the_folder_is_called(project: Project, tmp_path: Path) -> None:
    odd = Project(tmp_path / "a $(touch x); b", project.env)
    odd.path.mkdir()
    odd.script("s.py", ["alpha"], "print('ran')")
    odd.call("build", "s.py")
    os.chmod(odd.pool, 0o777)
    told = odd.call("exec", "s.py", status=125)
    (hint,) = [line.removeprefix("hint: ") for line in told.stderr.splitlines() if line.startswith("hint: ")]
    subprocess.run(hint, shell=True, check=True, cwd=tmp_path)
    assert odd.call("exec", "s.py").stdout == "ran\n"
    assert not list(tmp_path.glob("**/x"))


def test_a_whole_manifest_of_another_environment_is_named_by_verify_and_not_repaired_into_its_key(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.script("o.py", ["alpha>=1"])  # the same files
    project.call("build", "s.py", "o.py")
    key, other = (project.call("key", name).stdout.split()[0] for name in ("s.py", "o.py"))
    one, two = ((project.pool / "keys" / each).resolve() for each in (key, other))
    for name in ("sharedenv.json", "sharedenv.inventory"):
        shutil.copy(two / name, one / name)
    found = json.loads(project.call("verify", "--json", status=1).stdout)["environments"]
    assert {item["name"]: item["sound"] for item in found} == {one.name: False, two.name: True}
    assert f"its manifest is that of another environment, {other[:12]}" in project.call("verify", status=1).stdout
    assert "its manifest is another environment's" in project.call("verify", "--repair", status=3).stderr
    project.call("build", "s.py")
    project.call("verify")


def test_a_manifest_that_lies_is_not_believed(project: Project) -> None:
    project.script("s.py", ["alpha"], "print('ran')")
    project.script("o.py", ["beta"])
    project.call("build", "s.py", "o.py")
    key = project.call("key", "s.py").stdout.split()[0]
    environment = (project.pool / "keys" / key).resolve()
    manifest = environment / "sharedenv.json"
    original = manifest.read_text()
    other = next(path for path in project.environments if path != environment)
    for text in (
        (other / "sharedenv.json").read_text(),  # whole, and another environment's
        original.replace('"alpha"', '"omega"'),
        original.replace(key, "../" + key[3:]),
        original.replace('"schema": 1', '"schema": 2', 1),
        original[:-30],
        "[]",
        "{}",
        "\x00\xff",
    ):
        manifest.write_bytes(text.encode("utf-8", "surrogateescape"))
        full_way(project)
        assert project.call("exec", "--no-build", "s.py", status=125).stderr.startswith("error:"), text
    with opened(manifest.parent):
        manifest.unlink()
        manifest.symlink_to(other / "sharedenv.json")
    assert "its manifest is a link" in project.call("exec", "--no-build", "s.py", status=125).stderr
    assert project.call("exec", "s.py").stdout == "ran\n"
    project.call("list")
    project.call("prune")


@pytest.mark.parametrize(
    "requirement", ["--index-url=https://attacker.invalid", "-r /etc/passwd", "-e .", "alpha\nbeta", "--help", "@file"]
)
def test_requirements_that_are_options_are_bad_scripts(project: Project, requirement: str) -> None:
    project.script("s.py", [requirement.replace("\n", "\\n")])
    told = project.call("build", "s.py", status=2)
    assert "s.py" in told.stderr and not project.environments


@pytest.mark.parametrize("request_", ["--version", "--help", "-q", "--directory=/", "; touch x", "$(touch x)"])
def test_a_python_request_is_never_an_option_of_uv(project: Project, request_: str) -> None:
    project.script("s.py", ["alpha"])
    told = project.call("build", f"--python={request_}", "s.py", status=None)
    assert told.returncode in (2, 3)
    assert not project.environments and not (project.path / "x").exists()


def test_names_of_scripts_are_never_options_of_uv(project: Project) -> None:
    project.script("--help.py", ["alpha"], "print('ran')")
    assert project.call("exec", "./--help.py").stdout == "ran\n"


# ---------------------------------------------------------------- sharing in a group


def shared(project: Project, world: Path) -> None:
    """A project whose folder and pool belong to GROUP, shared on purpose; caches that nobody can use too."""
    os.chown(project.path, 0, GROUP)
    os.chmod(project.path, 0o2775)
    project.env["UV_CACHE_DIR"] = str(world / "cache0")
    project.call("build", "--shared-group", "s.py", umask=0o077)


SYSTEM_PYTHON = "/usr/bin/python3"  #: one that every user may run: this session's own may lie in a home


def member(
    project: Project, *arguments: str, module: tuple[str, ...] = ("-m", "sharedenv"), prefix: Sequence[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    """`PREFIX sharedenv` as another member of the group."""
    argv = [*prefix, *as_nobody(group=GROUP), SYSTEM_PYTHON, *module, *arguments]
    libraries = os.pathsep.join([project.env["PYTHONPATH"], sysconfig.get_path("purelib")])
    return subprocess.run(
        argv,
        cwd=project.path,
        env={**project.env, "PYTHONPATH": libraries, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def group_project(offline_env: dict[str, str], wheels: Path) -> Iterator[Project]:
    """A project shared in a group, one environment built by root with the tightest umask.

    It has a folder of its own that every user can enter: pytest's are closed, and its other workers lean on that.
    """
    require("setpriv", "python3")
    world = Path(tempfile.mkdtemp(prefix="sharedenv-group-"))
    world.chmod(0o755)
    project = Project(world / "project", offline_env)
    try:
        project.path.mkdir()
        (world / "home").mkdir()
        shutil.copytree(wheels, world / "wheels")
        project.env |= {
            "HOME": str(world / "home"),
            "PATH": "/usr/bin:/bin",
            "SHAREDENV_UV": shutil.which("uv", path=sysconfig.get_path("scripts")) or "uv",
            "UV_FIND_LINKS": str(world / "wheels"),
        }
        if (told := member(project, "--version")).returncode != 0:
            pytest.skip(f"another user can't run sharedenv here: {told.stderr.splitlines()[-1:]}")
        project.script("s.py", ["alpha"], "import alpha, sys; print(sys.prefix)")
        shared(project, world)
        yield project
    finally:
        project.end()
        shutil.rmtree(world)


@pytest.mark.root
def test_the_run_of_a_colleague_is_theirs_to_go_on_with(group_project: Project) -> None:
    project = group_project
    project.script("case1/script.py", ["alpha"], "raise SystemExit('no')")
    project.call("run", "case1/script.py", status=1)
    told = member(project, "run", "--retry-failed")
    assert told.returncode == 2, told.stderr
    assert "it is of another user\n" in told.stderr
    assert "which runs them all as a run of yours" in told.stderr
    assert "no" in member(project, "run", "case1/script.py").stderr
    planned = project.call("plan", "case1/script.py").stdout.strip()
    for command, instead in (("join", "as a run of yours"), ("cancel", f"hint: ls -ld {project.pool}/runs/{planned}\n")):
        told = member(project, command, planned)
        assert told.returncode == 2, told.stderr
        assert f"run {planned}: it is of another user\n" in told.stderr and instead in told.stderr
    assert project.call("join", planned, status=1).stderr.startswith("no\nfailed: ")


@pytest.mark.root
def test_a_pool_shared_on_purpose_works_for_a_second_user(group_project: Project) -> None:
    project = group_project
    assert json.loads((project.pool / "pool.json").read_text())["shared"] == "group"
    for folder in (project.pool, project.pool / "envs", project.pool / "keys"):
        assert folder.stat().st_mode & 0o7777 & 0o2770 == 0o2770 and folder.stat().st_gid == GROUP
    done = member(project, "exec", "s.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(project.environments[0])
    attempt = [*as_nobody(group=GROUP), "touch", str(module_of(project.environments[0]))]
    assert subprocess.run(attempt, capture_output=True, check=False).returncode != 0
    cache = project.path.parent / "cache1"
    cache.mkdir()
    os.chown(cache, NOBODY, GROUP)
    project.script("t.py", ["beta"], "import beta, sys; print(sys.prefix)")
    home = project.path.parent / "home1"
    home.mkdir()
    os.chown(home, NOBODY, GROUP)
    built = member(project, "exec", "t.py", UV_CACHE_DIR=str(cache), HOME=str(home))
    assert built.returncode == 0, built.stderr
    # and what the member built is the owner's to run
    assert project.call("exec", "--no-build", "t.py").stdout == built.stdout
    # what a colleague built only they can move: it is not even taken from its key, where others would find it missing
    link = project.pool / "keys" / project.call("key", "s.py").stdout.split()[0]
    before = link.lstat().st_ino
    told = member(project, "prune", "--unused-for", "0s").stdout
    assert "it belongs to root, who alone can remove it" in told and len(project.environments) == 1
    assert link.lstat().st_ino == before
    assert project.call("exec", "s.py").stdout == done.stdout


@pytest.mark.root
def test_runs_and_failures_can_be_read_by_the_group_whatever_the_umask(group_project: Project) -> None:
    project = group_project
    project.script("fails.py", ["no-such-package"])
    project.call("run", "s.py", umask=0o077)
    project.call("build", "fails.py", umask=0o077, status=3)
    told = member(project, "status", "--all")
    assert told.returncode == 0 and "s.py" in told.stdout + told.stderr, told.stderr
    assert "can't be read" not in member(project, "prune", "--dry-run").stdout
    (failure,) = (project.pool / "failures").iterdir()
    assert failure.stat().st_mode & 0o060 == 0o040


@pytest.mark.root
def test_a_colleague_who_died_while_building_is_not_waited_for(group_project: Project) -> None:
    """Under umask 077 the lease was readable to its owner alone, and nobody else could tell that its holder is dead."""
    project = group_project
    key = project.call("key", "s.py").stdout.split()[0]
    argv = [sys.executable, "-c", HOLDER, str(project.pool), key]
    process = subprocess.Popen(argv, env=project.env, umask=0o077, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    process.kill()
    process.communicate(timeout=60)
    code = BUILD.replace('"build"', '"build", "--rebuild", "--lock-timeout", "60"')
    home = project.path.parent / "home1"
    home.mkdir()
    os.chown(home, NOBODY, GROUP)
    project.env["UV_CACHE_DIR"] = str(home / "cache")
    done = member(project, "-c", code, module=(), HOME=str(home))
    assert done.returncode == 0 and "built environment" in done.stderr, done.stderr


AS_LONG_AS_ITS_PARENT = """
import os, pathlib, time
parent = os.getppid()
pathlib.Path("begun").touch()
while os.getppid() == parent:
    time.sleep(0.05)
"""


@pytest.mark.root
@pytest.mark.root
def test_the_pool_of_somebody_trusted_is_not_the_only_one(project: Project) -> None:
    require("setpriv")
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    project.script("t.py", ["beta"])
    for path in (project.pool, *project.pool.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    told = project.call("build", "t.py", env={"SHAREDENV_TRUST": "nobody"}, prefix=UNPRIVILEGED, status=3).stderr
    assert "can't write to the pool" in told and "hint: take a folder that you can write to: sharedenv --pool DIR" in told


@pytest.mark.root
def test_who_can_not_replace_an_environment_is_told_why_it_does_not_do(project: Project) -> None:
    """A colleague's pool whose Python lies where not everybody may go."""
    require("setpriv")
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    python = next((project.pool / "envs").glob("*/bin/python"))
    python.unlink()
    python.symlink_to(project.path.parent / "gone" / "python")
    for path in (project.pool, *project.pool.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    told = project.call("run", "s.py", env={"SHAREDENV_TRUST": "nobody"}, prefix=UNPRIVILEGED, status=3).stderr
    name = python.parent.parent.name
    assert "can't write to the pool" in told and re.search(rf"cause: {name} is to be built anew: its Python .* is gone\n", told), told


@pytest.mark.root
@pytest.mark.parametrize("hidepid", [1, 2])
def test_a_colleagues_run_is_at_work_where_proc_hides_it(hidepid: int, group_project: Project) -> None:
    """As many clusters mount /proc: its cases would have been run a second time beside it."""
    project = group_project
    project.script("slow.py", ["alpha"], AS_LONG_AS_ITS_PARENT)
    running = project.start("run", "slow.py")
    wait_for((project.path / "begun").exists)
    hide = f'mount -t proc -o hidepid={hidepid} proc /proc && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", hide, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("can't mount /proc in a name space of its own")
    told = member(project, "run", "--resume", prefix=prefix)
    assert told.returncode == 2 and "is at work" in told.stderr, told.stderr
    running.kill()
    running.wait()
    told = member(project, "status", prefix=prefix)
    assert "1 interrupted" in told.stdout and "to go on" in told.stdout, told.stdout


@pytest.mark.root
def test_a_mark_of_somebody_else_does_not_share_a_pool(group_project: Project) -> None:
    project = group_project
    for path in (project.pool, project.pool / "pool.json"):
        os.chown(path, 1, GROUP)
    refused = member(project, "exec", "s.py")
    assert refused.returncode == 125, "planted in a folder that is not its owner's"
    assert "belongs to" in refused.stderr and "export SHAREDENV_TRUST=" in refused.stderr
    os.chown(project.path, 1, GROUP)
    assert member(project, "exec", "s.py").returncode == 0, "that owner could put other scripts there as well"
    os.chown(project.pool / "pool.json", NOBODY, GROUP)
    assert member(project, "exec", "s.py").returncode == 125, "a member marked it, not its owner"
