"""`exec`, `which` and `activate` of what the pool knows: what they load and touch is counted, not timed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.conftest import Project, opened

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "sharedenv"

#: what is loaded beyond what the interpreter itself has at its start, exactly; each costs a start two file-system calls, at least
LOADED = {
    "_sha2" if sys.version_info >= (3, 12) else "_sha256",
    "fcntl",
    "sharedenv",
    "sharedenv.entry",
    "sharedenv.start",
    "sharedenv.start.access",
    "sharedenv.start.block",
    "sharedenv.start.environ",
    "sharedenv.start.find_pool",
    "sharedenv.start.fingerprint",
    "sharedenv.start.trust",
}
FROM_SOURCE = LOADED | {"sharedenv.__main__", "sharedenv.start.uv_variables"}  #: the suite sets some of uv's variables
MORE = {"activate": {"sharedenv.errors", "sharedenv.start.activation"}}
#: prints what a command has loaded; execve is where `exec` leaves
PROBE = """
import os, posix, sys
before = set(sys.modules)
def leave(*_):
    report()
    os._exit(0)
def report():
    os.write(2, ("LOADED " + " ".join(sorted(set(sys.modules) - before)) + "\\n").encode())
os.execve = posix.execve = leave
sys.argv[0] = "sharedenv"
from sharedenv.__main__ import main
status = main()
report()
os._exit(status)
"""


@pytest.fixture
def built(project: Project) -> Project:
    project.script("case1/script.py", [], "import sys\nprint(sys.argv)")
    project.script("case2/script.py", [], "import sys\nprint(sys.argv)")
    project.call("build", "case*/script.py")
    return project


def _loaded(project: Project, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], cwd=project.path, env=project.env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False
    )
    found = re.search(r"^LOADED (.*)$", done.stderr, re.MULTILINE)
    assert found, done.stderr
    return set(found[1].split())


@pytest.mark.parametrize("command", [("exec", "case1/script.py", "a"), ("which", "case1/script.py", "case2/script.py"), ("activate", "case2/script.py")])
def test_what_the_fast_way_loads(built: Project, command: tuple[str, ...]) -> None:
    loaded = _loaded(built, *command)
    optional = {"fcntl", "_sha2", "_sha256"}  # some Pythons have them built in, or loaded
    assert loaded - optional == (FROM_SOURCE | MORE.get(command[0], set())) - optional
    assert "__future__" not in loaded and loaded <= FROM_SOURCE | MORE.get(command[0], set())


def test_copies_of_a_script_that_was_built_take_the_fast_way(built: Project) -> None:
    built.copies(4, [], "print('another body')")
    assert "click" not in _loaded(built, "exec", "case4/script.py")


@pytest.mark.parametrize("command", [("exec", "--no-build"), ("which",), ("activate", "--no-build"), ("verify",)])
def test_a_pipe_in_the_place_of_a_manifest_or_an_inventory_holds_nobody_up(built: Project, command: tuple[str, ...]) -> None:
    [environment] = built.environments
    name = "sharedenv.inventory" if command == ("verify",) else "sharedenv.json"
    with opened(environment):
        (environment / name).unlink()
        os.mkfifo(environment / name)
    told = built.call(*command, "case1/script.py", status=None, prefix=("timeout", "20"))
    assert told.returncode in (1, 3, 125) and "Traceback" not in told.stderr
    assert "is a pipe" in told.stdout + told.stderr


def test_under_a_sharedenv_lock_it_is_as_fast_and_an_edit_of_it_is_seen(built: Project) -> None:
    built.call("lock", "case1/script.py")
    assert "click" in _loaded(built, "exec", "--no-build", "case1/script.py"), "another key"
    built.call("build", "case1/script.py")
    for command in ("exec", "which", "activate"):
        assert "click" not in _loaded(built, command, "case2/script.py"), command
    lock = built.path / "sharedenv.lock"
    text = lock.read_text()
    lock.write_text(text + "# edited\n")
    assert "click" in _loaded(built, "exec", "case1/script.py")
    lock.write_text(text)
    assert "click" not in _loaded(built, "exec", "case1/script.py")


def test_what_the_pool_has_not_seen_goes_the_full_way_once(built: Project) -> None:
    built.script("case3/script.py", [], "print('spelt differently')", requires_python=" >= 3.8")
    assert "click" in _loaded(built, "which", "case3/script.py")
    assert "click" not in _loaded(built, "which", "case3/script.py")


def test_a_python_that_a_variable_asks_for_takes_the_fast_way(built: Project) -> None:
    """As click hands it on, SHAREDENV_PYTHON is the option --python: what was found under it must be noted nevertheless."""
    built.env["SHAREDENV_PYTHON"] = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert "click" in _loaded(built, "which", "case1/script.py")
    built.call("build", "case1/script.py")
    for command in ("exec", "which", "activate"):
        assert "click" not in _loaded(built, command, "case1/script.py"), command
    built.env["SHAREDENV_PYTHON"] = "3.99"
    assert "click" in _loaded(built, "which", "case1/script.py")


@pytest.mark.parametrize(
    "arguments",
    [
        ("exec", "--python", "3.99", "case1/script.py"),
        ("exec", "case*/script.py"),
        ("exec", "missing.py"),
        ("which", "-h"),
        ("which", "--from-file", "list"),
        ("activate", "--taskprolog", "case1/script.py"),
        ("exec",),
    ],
)
def test_everything_else_goes_the_full_way(built: Project, arguments: tuple[str, ...]) -> None:
    assert "click" in _loaded(built, *arguments)


def test_both_ways_say_the_same(built: Project) -> None:
    for command in (["which", "case1/script.py", "case2/script.py", "case1/script.py"], ["activate", "case1/script.py"], ["exec", "case1/script.py", "a b", ""]):
        fast = built.call(*command)
        for link in (built.pool / "index").iterdir():
            link.unlink()
        full = built.call(*command)
        assert (fast.stdout, fast.stderr, fast.returncode) == (full.stdout, full.stderr, full.returncode)
        built.call("which", "case1/script.py")


def test_two_dots_behind_a_link_are_where_it_leads(built: Project) -> None:
    built.script("far/s.py", ["alpha"], "import alpha\nprint('far')")
    built.script("s.py", [], "print('near')")
    (built.path / "far/away").mkdir()
    (built.path / "link").symlink_to("far/away")
    built.call("build", "s.py", "far/s.py")
    for _ in range(2):  # whatever the first call notes in the index
        assert built.call("exec", "link/../s.py").stdout == "far\n"
        assert built.call("which", "link/../s.py").stdout == built.call("which", "far/s.py").stdout
    assert built.call("exec", "../s.py", cwd=built.path / "link").stdout == "far\n"
    assert "click" not in _loaded(built, "exec", "../project/s.py"), "above the current folder there is no link"


def test_exec_holds_the_environment_and_passes_on_status_and_variables(built: Project) -> None:
    body = (
        "import os, sys\nprint(os.environ['VIRTUAL_ENV'], os.environ['PATH'].split(':')[0], 'PYTHONHOME' in os.environ)\n"
        "print(any(os.readlink(f'/proc/self/fd/{n}').endswith('sharedenv.json') for n in os.listdir('/proc/self/fd') if n not in '012' and os.path.exists(f'/proc/self/fd/{n}')))\n"
        "sys.exit(9)"
    )
    script = built.script("case1/script.py", [], body)
    assert "click" not in _loaded(built, "exec", str(script))
    done = built.call("exec", str(script), status=9)
    (environment,) = built.environments
    assert done.stdout.splitlines() == [f"{environment} {environment}/bin False", "True"]


def test_a_closed_descriptor_stays_closed_for_the_script(built: Project) -> None:
    """Not the manifest: what the script writes to it, or reads from it, would go there."""
    body = (
        "import os, sys\nfor n in (0, 1, 2):\n    try:\n        os.fstat(n)\n    except OSError:\n        open('closed', 'a').write(str(n))\n"
        "held = [os.readlink(f'/proc/self/fd/{n}') for n in range(3, 20) if os.path.lexists(f'/proc/self/fd/{n}')]\n"
        "sys.exit(not any(path.endswith('sharedenv.json') for path in held))"
    )
    built.script("case1/script.py", [], body)
    for closed in ("0", "1", "2", "012"):
        (built.path / "closed").write_text("")
        built.shell(f"{shlex.quote(sys.executable)} -m sharedenv exec case1/script.py {' '.join(f'{n}>&-' for n in closed)}")
        assert (built.path / "closed").read_text() == closed


def test_an_environment_that_is_gone_is_built_again(built: Project) -> None:
    with opened(built.environments[0]):  # nobody but root moves a folder that he can't write to
        shutil.move(built.environments[0], built.path / "elsewhere")
    done = built.call("exec", "case1/script.py")
    assert done.stdout == "['case1/script.py']\n"


def test_another_python_behind_the_environment_goes_the_full_way(built: Project) -> None:
    (environment,) = built.environments
    manifest = environment / "sharedenv.json"
    text = manifest.read_text()
    assert '"identity": "' in text and '"libc": "' in text, "the fast way looks for these"
    os.chmod(environment, 0o755)
    manifest.write_text(re.sub(r'"identity": "\d+', '"identity": "1', text))
    assert "click" in _loaded(built, "which", "case1/script.py")
    manifest.write_text(re.sub(r'"libc": "[^"]*', '"libc": "glibc 2.1', text))
    assert "click" in _loaded(built, "exec", "case1/script.py")
    manifest.write_text(text)
    assert "click" not in _loaded(built, "exec", "case1/script.py")


def test_a_link_that_leads_out_of_the_pool_counts_for_nothing(built: Project) -> None:
    (link,) = (built.pool / "index").iterdir()
    name = os.readlink(link)
    for target in ("../../elsewhere/x", f"../keys/{name}", f"../envs/../{name}", "/tmp/x", "../envs/"):
        link.unlink()
        link.symlink_to(target)
        assert "click" in _loaded(built, "which", "case1/script.py")
        link.unlink()
        link.symlink_to(name)


def test_a_pool_that_others_may_write_goes_the_full_way(built: Project) -> None:
    built.pool.chmod(0o777)
    assert "click" in _loaded(built, "exec", "case1/script.py")
    done = built.call("exec", "case1/script.py", status=None)
    assert done.returncode != 0
    built.pool.chmod(0o755)


def test_a_rebuild_is_found(built: Project) -> None:
    before = built.call("which", "case1/script.py").stdout
    built.call("build", "--rebuild", "case1/script.py")
    after = built.call("which", "case1/script.py").stdout
    assert before != after
    assert "click" not in _loaded(built, "which", "case2/script.py")
    assert built.call("which", "case2/script.py").stdout == after


def test_nothing_is_written_twice_within_an_hour(built: Project) -> None:
    built.call("exec", "case1/script.py")
    (note,) = (built.pool / "used").iterdir()
    first = note.stat().st_mtime_ns
    built.call("exec", "case1/script.py")
    assert note.stat().st_mtime_ns == first
    os.utime(note, (first / 1e9 - 4000, first / 1e9 - 4000))
    built.call("exec", "case1/script.py")
    assert note.stat().st_mtime_ns >= first


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """The command `sharedenv` as pip installs it from a wheel: in a plain environment of its own, no editable hook, no .pth file."""
    return _installed(tmp_path / "tool")


def _with_libraries(command: Path) -> None:
    (packages,) = command.parent.parent.glob("lib/python*/site-packages")
    (packages / "more.pth").write_text(os.path.dirname(os.path.dirname(click.__file__)) + "\n")


def _installed(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    shutil.copytree(PACKAGE, packages / "sharedenv", ignore=shutil.ignore_patterns("__pycache__"))
    for name, source in (("sharedenv", "console-script"), ("sharedenv-python", "console-python")):
        shutil.copy(PACKAGE / source, folder / "bin" / name)
        (folder / "bin" / name).chmod(0o755)
    return folder / "bin" / "sharedenv"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_file_system_calls_of_the_fast_way(built: Project, command: Path, tmp_path: Path) -> None:
    script = str(built.path / "case1" / "script.py")
    # Nothing but what the command needs: bash reads a file more for each LC_* that is set, and any program some for LD_LIBRARY_PATH.
    wanted = ("HOME", "PATH", "UV_", "SHAREDENV_", "XDG_")
    env = {name: value for name, value in built.env.items() if name.startswith(wanted)} | {"SHLVL": "1"}

    def calls(*argv: str) -> list[str]:
        log = tmp_path / "strace"
        argv = ("strace", "-f", "-o", str(log), "-e", "trace=%file,flock,clone,clone3,fork,vfork", *argv)
        subprocess.run(argv, cwd=built.path, env=env, check=True, stdout=subprocess.DEVNULL)
        return log.read_text().splitlines()

    calls(str(command), "exec", script)  # compiles
    ours = calls(str(command), "exec", script)
    start = min(index for index, line in enumerate(ours) if '/sharedenv/' in line and "/site-packages/" in line)  # Python has started
    last = max(index for index, line in enumerate(ours) if "execve(" in line)
    about_the_pool = [line for line in ours[start:last] if str(built.path) in line]
    assert len(about_the_pool) <= 23, "\n".join(about_the_pool)
    (tmp_path / "empty").write_text("#!/bin/bash -p\n")
    (tmp_path / "empty").chmod(0o755)
    bash = calls(str(tmp_path / "empty"))
    above = len(tmp_path.parts)  # Python looks for its own files in each folder above the command
    assert last - len(bash) <= 163 + above, "\n".join(ours[len(bash) : last])
    assert last <= 200, "the shell's own start included: " + "\n".join(ours[:last])
    assert last - start <= 58 + above, "\n".join(ours[start:last])
    bare = calls(str(built.environments[0] / "bin" / "python"), script)
    assert start - len(bash) - len(bare) <= 10, "what the command itself looks at"
    assert len(ours) - last <= len(bare), "the script starts as it does without us"
    assert not any(re.search(r"\b(clone3?|v?fork)\(", line) for line in ours)


def test_what_a_start_of_the_command_loads(built: Project, command: Path) -> None:
    """All of it, the interpreter's own start included: neither site nor os, each a tenth of a start."""
    env = {**built.env, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([command, "which", "case1/script.py"], cwd=built.path, env=env, check=True, stdout=subprocess.DEVNULL)
    python = [str(command.parent / "python"), "-I", "-S"]
    [text] = re.findall("^_sharedenv_text='(.*?)'$", command.read_text(), re.MULTILINE | re.DOTALL)
    plain, ours = (
        set(re.findall(r"\| +([\w.]+)$", subprocess.run([*python, "-X", "importtime", *rest], cwd=built.path, env=env, capture_output=True, text=True, check=True).stderr, re.MULTILINE))
        for rest in (["-c", ""], ["-c", text, str(command), "which", "case1/script.py"])
    )
    assert not {"os", "site"} & ours
    assert ours - plain - {"fcntl", "_sha2", "_sha256"} == {name for name in LOADED if "." in name or name == "sharedenv"} | {"sharedenv.start.uv_variables"}


def test_what_is_compiled_counts_for_its_own_source_alone(built: Project, command: Path) -> None:
    """Of another Python, half written, or of a source that has been changed since: Python's own way, which compiles anew."""
    expected = _which(command, built)
    [compiled] = command.parent.parent.glob("lib/python*/site-packages/sharedenv/start/__pycache__/find_pool.*.pyc")
    whole = compiled.read_bytes()
    for damaged in (whole[:10], b"", b"\0\0\0\0" + whole[4:], whole[:4] + b"\1\0\0\0" + whole[8:], whole[:8] + b"\0" * 500):
        compiled.write_bytes(damaged)
        assert _which(command, built) == expected, damaged[:16]
    compiled.unlink()
    compiled.mkdir()
    assert _which(command, built) == expected
    source = compiled.parent.parent / "find_pool.py"
    source.write_text(source.read_text() + "raise SystemExit('another source')\n")
    done = subprocess.run([command, "which", "case1/script.py"], cwd=built.path, env={**built.env, "PYTHONPATH": ""}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "another source\n")


def test_the_command_goes_the_same_ways_from_the_sources_and_from_the_wheel(built: Project, command: Path) -> None:
    """With and without Python's own search for modules, and what the fast way leaves to the full way."""
    _with_libraries(command)
    built.script("case9/script.py", ["no-such-thing"])
    calls = [
        ("which", "case1/script.py", "case2/script.py"), ("exec", "case1/script.py", "a", "b"), ("activate", "case1/script.py"),
        ("which", "case9/script.py"), ("exec", "no.py"), ("key", "case1/script.py"), ("--version",),
    ]
    for arguments in calls:
        for variables in ({}, {"SHAREDENV_STAGE": str(built.path / "stage")}, {"SHAREDENV_COLOR": "never"}, {"SHAREDENV_NEW": "1"}):
            env = {**built.env, "PYTHONPATH": "", **variables}
            installed, ours = (
                subprocess.run([*way, *arguments], cwd=built.path, env=env, capture_output=True, text=True, check=False)
                for way in ([command], [sys.executable, "-m", "sharedenv"])
            )
            assert (installed.returncode, installed.stdout, installed.stderr) == (ours.returncode, ours.stdout, ours.stderr), arguments


def test_the_full_way_starts_without_a_walk_of_the_collector(built: Project) -> None:
    """What is loaded is no garbage, and some 20,000 objects are: with Python's own threshold the collector looks at them again and again."""
    code = "import gc, sys; from sharedenv.entry import main; sys.argv[1:] = ['list']; before = gc.get_stats(); main(); print(sum(g['collections'] for g in gc.get_stats()) - sum(g['collections'] for g in before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=built.path, env=built.env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"


def test_nor_does_it_end_with_one(built: Project) -> None:
    code = "import gc, sys; from sharedenv.entry import main; sys.argv[1:] = ['list']; main(); print(gc.get_freeze_count() > 10_000)"
    done = subprocess.run([sys.executable, "-c", code], cwd=built.path, env=built.env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


def _which(command: Path, project: Project, **variables: str) -> str:
    env = {**project.env, "PYTHONPATH": "", **variables}
    done = subprocess.run([command, "which", "case1/script.py"], cwd=project.path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_command_is_found_by_its_own_package_alone(built: Project, command: Path, tmp_path: Path) -> None:
    expected = f"{built.environments[0]}/bin/python\n"
    (command.parent / "stat.py").write_text("raise SystemExit('not this one')")
    assert _which(command, built) == expected
    assert _which(command, built, PYTHONSAFEPATH="1") == expected
    # what a cluster's modules set for another Python
    (tmp_path / "modules").mkdir()
    for name in ("posix", "errno", "sharedenv", "click"):
        (tmp_path / "modules" / f"{name}.py").write_text("raise SystemExit('not this one')")
    assert _which(command, built, PYTHONPATH=str(tmp_path / "modules"), PYTHONHOME=str(tmp_path)) == expected


def test_the_full_way_has_all_packages(built: Project, command: Path) -> None:
    _with_libraries(command)
    done = subprocess.run([command, "key", "case1/script.py"], cwd=built.path, env=built.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == built.call("key", "case1/script.py").stdout
