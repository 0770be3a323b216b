"""Commands that packages bring along start as under `uv run`, wherever the environment stands."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedenv.start.access import noted_place
from tests.conftest import UNPRIVILEGED, Project, make_removable, opened
from tests.faults import mounted, require
from tests.wheels import make_wheel

SEEN = 'import os, sys\ndef main():\n    print(sys.executable, sys.prefix, sys.argv[1:], os.environ.get("a.b"), "BASH_FUNC_f%%" in os.environ)\n'
FUTURE = f'#!python\n"""A script with a docstring."""\nfrom __future__ import annotations\n{SEEN}main()\n'
DATA = "commands-1.0.data/scripts"
#: runs each command with all of PATH, and with that part of it alone where the command was found; the environment's own path aside
BODY = """
import os, shutil, subprocess, sys
for name in ("cmd-console", "cmd-window", "cmd-future", "cmd-data", "cmd-shell"):
    alone = {**os.environ, "PATH": os.path.dirname(shutil.which(name))}
    for env in (os.environ, alone):
        done = subprocess.run([name, "an argument"], env=env, capture_output=True, text=True)
        print(name, done.returncode, done.stdout.strip().replace(sys.prefix, "PREFIX"), done.stderr.strip()[-300:])
done = subprocess.run([sys.executable, "-m", "commands", "x"], capture_output=True, text=True)
print("-m", done.returncode, done.stdout.strip().replace(sys.prefix, "PREFIX"))
"""
ODD = {"a.b": "1", "BASH_FUNC_f%%": "() { :; }"}  #: variables that a shell drops


@pytest.fixture
def commands(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A project with one script, of a package that brings commands of every kind; its path is short, those of caches and
    copies too, however long TMPDIR is: a long one fits no first line.
    """
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    project.path = short / "project"
    project.path.mkdir()
    make_wheel(
        tmp_path / "found",
        "commands",
        "1.0",
        modules={
            "commands.py": f'{SEEN}\nif __name__ == "__main__":\n    main()\n',
            f"{DATA}/cmd-future": FUTURE,
            f"{DATA}/cmd-data": f"#!pythonw -E\n{SEEN}main()\n",
            f"{DATA}/cmd-shell": "#!/bin/sh\necho shell\n",
            "commands-1.0.dist-info/entry_points.txt": "[console_scripts]\ncmd-console = commands:main\n[gui_scripts]\ncmd-window = commands:main\n",
        },
    )
    (short / "tmp").mkdir()
    project.env.update(UV_FIND_LINKS=str(tmp_path / "found"), UV_CACHE_DIR=str(short / "cache"), TMPDIR=str(short / "tmp"), **ODD)
    project.script("case1/script.py", ["commands"], BODY)
    project.script("case2/script.py", ["commands"], BODY)
    yield project
    make_removable(short)
    shutil.rmtree(short)


def expected(project: Project) -> str:
    """What the script prints under `uv run`."""
    done = subprocess.run(
        ["uv", "run", "-q", "--script", "case1/script.py"], cwd=project.path, env=project.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def seen(project: Project, way: str) -> str:
    if way == "activate":
        return project.shell(f'eval "$({shlex.quote(sys.executable)} -m sharedenv activate --shell sh case1/script.py)" && python case1/script.py')
    if way == "preload":  # the first of them may go the plain way
        return project.call("run", "-j1", "--preload", "case1/script.py", "case2/script.py").stdout
    return project.call(way, "case1/script.py").stdout


def moved(project: Project, name: str = "moved") -> Project:
    project.path = project.path.rename(project.path.parent / name)
    return project


def folders(project: Project) -> list[Path]:
    """The folders of entry points on this node."""
    return sorted(Path(project.env["TMPDIR"]).glob(f"sharedenv-{os.geteuid()}-*"))


def first_line(environment: Path, command: str = "cmd-console") -> str:
    return (environment / "bin" / command).read_text().splitlines()[0]


def test_every_way_shows_them_what_uv_run_shows(commands: Project) -> None:
    told = expected(commands)
    line = "PREFIX/bin/python PREFIX ['an argument'] 1 True"
    assert told.count(line) == 8 and told.count("cmd-shell 0 shell") == 2, told
    for way in ("exec", "exec", "run", "preload", "activate"):
        assert seen(commands, way) in (told, told * 2), way
    [environment] = commands.environments
    assert first_line(environment) == f"#!{environment}/bin/python"
    assert not folders(commands)
    assert "1 of 1 environment sound" in commands.call("verify").stderr


def test_a_staged_copy_has_its_own(commands: Project) -> None:
    local = commands.path.parent / "local"
    told = expected(commands)
    commands.call("build", "case1/script.py")
    moved(commands)
    commands.call("stage", "--to", str(local), "case1/script.py")
    commands.env["SHAREDENV_STAGE"] = str(local)
    for way in ("exec", "run", "preload", "activate"):
        assert seen(commands, way) in (told, told * 2), way
    [copy] = [path for path in local.iterdir() if path.is_dir()]
    assert first_line(copy) == f"#!{copy}/bin/python"
    assert not folders(commands)


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_project_that_stands_elsewhere(how: str, commands: Project) -> None:
    """Its environments were built for another place, which is gone, or which holds another environment."""
    told = expected(commands)
    commands.call("build", "case1/script.py")
    [before] = commands.environments
    if how == "moved":
        moved(commands)
    else:
        original = commands.path
        commands.path = Path(shutil.copytree(original, original.parent / "copy", symlinks=True))
        with opened(original / ".sharedenv" / "envs" / before.name):
            shutil.rmtree(original / ".sharedenv" / "envs" / before.name / "lib")  # it may be gone, too, or broken
    for way in ("exec", "exec", "run", "preload", "activate"):
        assert seen(commands, way) in (told, told * 2), way
    [folder] = folders(commands)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["cmd-console", "cmd-data", "cmd-future", "cmd-window"]
    assert [path.name for path in Path(commands.env["TMPDIR"]).iterdir() if path.name.startswith(".sharedenv")] == []


def test_a_rebuild_writes_them_for_where_the_project_stands_now(commands: Project) -> None:
    commands.call("build", "case1/script.py")
    commands.path = commands.path.rename(commands.path.parent / "moved")
    commands.call("build", "--rebuild", "case1/script.py")
    newest = commands.environments[-1]
    done = subprocess.run([newest / "bin" / "cmd-console"], env=commands.env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{newest}/bin/python {newest} ")


def test_the_folder_is_found_by_the_fast_way(commands: Project) -> None:
    commands.call("build", "case1/script.py")
    moved(commands)
    told = commands.call("exec", "case1/script.py").stdout
    program = "import sys, os; sys.modules['click'] = None; from sharedenv.entry import main; sys.argv = ['sharedenv', *sys.argv[1:]]; sys.exit(main())"
    fast = subprocess.run(
        [sys.executable, "-c", program, "exec", "case1/script.py"], cwd=commands.path, env=commands.env, capture_output=True, text=True, check=False
    )
    assert fast.stdout == told, fast.stderr


def test_many_that_start_at_once_make_one_folder(commands: Project) -> None:
    told = expected(commands)
    commands.call("build", "case1/script.py")
    moved(commands)
    processes = [commands.start("exec", "case1/script.py") for _ in range(8)]
    assert [process.communicate(timeout=120)[0] for process in processes] == [told] * 8
    assert len(folders(commands)) == 1
    assert not list(Path(commands.env["TMPDIR"]).glob(".sharedenv-*"))


def test_what_lost_files_by_age_is_made_new(commands: Project) -> None:
    told = expected(commands)
    commands.call("build", "case1/script.py")
    moved(commands)
    commands.call("exec", "case1/script.py")
    [folder] = folders(commands)
    (folder / "cmd-future").unlink()
    old = time.time() - 2 * 86400
    os.utime(folder, (old, old))
    assert commands.call("exec", "case1/script.py").stdout == told
    assert folders(commands) == [folder] and (folder / "cmd-future").exists()


@pytest.mark.parametrize("plant", ["a folder of another", "a folder that others may enter", "a link"])
def test_what_somebody_planted_is_not_used(plant: str, commands: Project, tmp_path: Path) -> None:
    commands.call("build", "case1/script.py")
    moved(commands)
    commands.call("exec", "case1/script.py")
    [folder] = folders(commands)
    evil = tmp_path / "evil"
    evil.mkdir(mode=0o700)
    folder.rename(tmp_path / "away")
    for name in ("cmd-console", "python"):
        (evil / name).write_text("#!/bin/sh\necho planted\n")
        (evil / name).chmod(0o755)
    if plant == "a link":
        folder.symlink_to(evil)
    else:
        evil.rename(folder)
        if plant == "a folder of another":
            require()
            os.chown(folder, 65534, 65534)
        else:
            folder.chmod(0o755)
    for _ in range(2):
        done = commands.call("exec", "case1/script.py", status=None)
        assert "planted" not in done.stdout
        assert "warning: commands of packages may not start" in done.stderr and "something else is in the way" in done.stderr
    assert "planted" not in commands.call("run", "case1/script.py", status=None).stdout


def test_a_disk_from_which_nothing_starts_is_named(commands: Project, tmp_path: Path) -> None:
    commands.call("build", "case1/script.py")
    moved(commands)
    with mounted(tmp_path / "mounted", "-t", "tmpfs", "-o", "noexec", "tmpfs") as disk:
        done = commands.call("exec", "case1/script.py", env={"TMPDIR": str(disk)}, status=None)
        assert "nothing can be started from that disk" in done.stderr
        assert not list(disk.iterdir())


@pytest.mark.parametrize("value", ["", "relative", "/with:colon"])
def test_a_tmpdir_that_path_can_not_hold(value: str, commands: Project) -> None:
    commands.call("build", "case1/script.py")
    moved(commands)
    script = commands.script("case1/where.py", ["commands"], "import os, shutil\nprint(os.path.dirname(shutil.which('cmd-console')))")
    folder = Path(commands.call("exec", str(script), env={"TMPDIR": value}).stdout.strip())
    assert folder.parent == Path("/tmp") and folder.name.startswith(f"sharedenv-{os.geteuid()}-")
    shutil.rmtree(folder)


@pytest.mark.parametrize("way", ["a link", "another spelling"])
def test_the_same_place_by_another_name_needs_no_folder(way: str, commands: Project, tmp_path: Path) -> None:
    commands.call("build", "case1/script.py")
    (tmp_path / "other name").symlink_to(commands.path)
    pool = tmp_path / "other name" / ".sharedenv"
    script = str(tmp_path / "other name" / "case1" / "script.py") if way == "a link" else "case1/script.py"
    env = {} if way == "a link" else {"SHAREDENV_POOL": str(pool)}
    for _ in range(2):
        assert commands.call("exec", script, env=env).stdout.count("['an argument'] 1 True") == 8
    assert not folders(commands)


@pytest.mark.parametrize("name", ["with a space", "it's", "long" * 30, "été", 'quo"te'])
def test_places_of_every_kind(name: str, commands: Project) -> None:
    """Where a first line can't hold the path, uv lets a shell start it: so do we, and it needs no other program."""
    moved(commands, name)
    told = commands.call("exec", "case1/script.py").stdout
    [environment] = commands.environments
    shell = " " in name or len(name) > 100
    assert first_line(environment) == ("#!/bin/sh" if shell else f"#!{environment}/bin/python")
    for command in ("cmd-console", "cmd-window", "cmd-data"):
        assert told.count(f"{command} 0 PREFIX/bin/python PREFIX ['an argument']") == 2, told
    assert commands.call("exec", "case1/script.py").stdout == told
    assert not folders(commands)
    moved(commands, f"{name} moved")
    assert commands.call("exec", "case1/script.py").stdout.count("cmd-window 0 PREFIX/bin/python") == 2


def test_an_environment_of_an_older_sharedenv_goes_on_as_it_is(commands: Project) -> None:
    older = (
        "import sys; from sharedenv.build import seal; seal.place_entry_points = lambda *_: [];"
        "from sharedenv.cli.main import main; sys.argv[0] = 'sharedenv'; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", older, "build", "case1/script.py"], cwd=commands.path, env=commands.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        assert "cmd-console 0 PREFIX/bin/python" in commands.call("exec", "case1/script.py").stdout
        moved(commands)
    assert not folders(commands)


def test_who_finds_its_number_taken_writes_them_for_the_next(commands: Project) -> None:
    """A file where its folder would be: seen when it is moved there, after all has been written."""
    key = commands.call("key", "case1/script.py").stdout[:12]
    commands.call("build", "case1/script.py")
    [environment] = commands.environments
    with opened(environment):
        environment.rename(commands.path / "away")
    (commands.pool / "envs" / f"{key}-1").write_text("in the way")
    commands.call("build", "case1/script.py", prefix=UNPRIVILEGED)
    (environment,) = (path for path in commands.environments if path.is_dir())
    assert environment.name == f"{key}-2"
    assert first_line(environment) == f"#!{environment}/bin/python"
    assert noted_place((environment / "sharedenv.json").read_bytes()) == str(environment)
    assert "1 of 1 environment sound" in commands.call("verify").stderr


def test_their_packages_list_them_as_they_are(commands: Project) -> None:
    commands.call("build", "case1/script.py")
    [environment] = commands.environments
    [record] = environment.glob("lib/*/site-packages/commands-1.0.dist-info/RECORD")
    with record.open(newline="") as file:
        rows = {row[0]: row[1:] for row in csv.reader(file) if "/bin/" in row[0]}
    assert len(rows) == 5
    for name, (recorded, size) in rows.items():
        data = (record.parent.parent / name).read_bytes()
        assert recorded == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode(), name
        assert int(size) == len(data)


@pytest.mark.parametrize("path", ["/plain/x", "/a,", "/été/x", 'quo"te', "back\\slash", "/😀", '/",\n  "place": "/other', "/line\nbreak"])
def test_the_noted_place_is_read_as_it_was_written(path: str) -> None:
    text = json.dumps({"key": "0", "notes": {"place": path, "zone": "x"}, "payload": {"tool.uv": {"place": "/no"}}}, indent=1, sort_keys=True)
    assert noted_place(text.encode()) == path
    assert noted_place(text.replace('"place"', '"other"').encode()) == ""


def test_a_places_name_in_the_users_metadata_is_no_note() -> None:
    text = json.dumps({"notes": {}, "payload": {"tool.uv": {"place": "/no"}}}, indent=1, sort_keys=True)
    assert noted_place(text.encode()) == ""
