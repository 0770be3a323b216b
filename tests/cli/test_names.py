"""Folders with names that break tools, and folders that are not what they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sharedenv.report.words import printable
from tests.conftest import UNPRIVILEGED, Project
from tests.faults import eight_bit_locale

NASTY = [
    b"two words", b"it's", b'"quoted"', b"new\nline", b"tab\there", b"-rf", b"--", b"$HOME", b"`id`", b"$(id)", b"a;b&c|d",
    b"*?[x]", b"back\\slash", b"#hash", b"~", b"\xff\xfe not utf-8", "ünï©ødé ☃".encode(), b"\x1b[31mred", b"{}", b"%s%d", b" lead ", b"\x01",
]  # fmt: skip

BODY = "import os, sys\nsys.stdout.buffer.write(os.fsencode(os.path.basename(os.getcwd())) + b'\\0')\nopen('ran', 'x')"


def nasty(project: Project) -> list[bytes]:
    """A script in each nasty folder; their paths."""
    model = project.script("model.py", body=BODY)
    root = os.fsencode(project.path)
    paths = []
    for name in NASTY:
        os.mkdir(os.path.join(root, name))
        path = os.path.join(root, name, b"script.py")
        Path(os.fsdecode(path)).write_bytes(model.read_bytes())
        paths.append(path)
    (project.path / "list").write_bytes(b"\0".join(os.path.join(name, b"script.py") for name in NASTY))
    return paths


def run_bytes(project: Project, *arguments: str, status: int = 0) -> tuple[bytes, bytes]:
    process = subprocess.run(
        [sys.executable, "-m", "sharedenv", *arguments], env=project.env, cwd=project.path, capture_output=True, check=False, timeout=240,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.returncode == status, process.stderr.decode(errors="replace")
    return process.stdout, process.stderr


def words_of(command: bytes) -> list[bytes]:
    """The words of a command as a shell takes them."""
    return subprocess.run([b"bash", b"-c", b"printf '%s\\0' " + command], capture_output=True, check=True).stdout.split(b"\0")[:-1]


def test_nasty_names_run_resume_and_are_logged(project: Project) -> None:
    paths = nasty(project)
    stdout, stderr = run_bytes(project, "run", "--from-file", "list", "-0", "-k", "--joblog", "log")
    assert stdout.split(b"\0")[:-1] == NASTY
    assert all(os.path.exists(os.path.join(os.path.dirname(path), b"ran")) for path in paths)
    assert f"{len(NASTY)} succeeded".encode() in stderr
    rows = [line.split(b"\t", 8) for line in (project.path / "log").read_bytes().split(b"\n")[1:-1]]
    assert sorted(int(row[0]) for row in rows) == list(range(1, len(NASTY) + 1))
    commands = {int(row[0]): words_of(row[8].replace(b"\0", b"\n")) for row in rows}
    assert [commands[number + 1][1] for number in range(len(NASTY))] == paths
    _, stderr = run_bytes(project, "run", "--resume", "--from-file", "list", "-0")
    assert b"nothing to run" in stderr


def test_nasty_names_fail_in_one_printable_line_each(project: Project) -> None:
    nasty(project)
    # the second time every script fails: its file is there already
    run_bytes(project, "run", "--from-file", "list", "-0")
    _, stderr = run_bytes(project, "-v", "run", "--from-file", "list", "-0", status=1)
    told = [line for line in stderr.split(b"\n") if line.startswith(b"failed: ")]
    assert len(told) == len(NASTY)
    assert not any(byte < 32 or byte == 127 for line in told for byte in line)
    stdout, _ = run_bytes(project, "status")
    assert f"{len(NASTY)} × exit 1: FileExistsError".encode() in stdout


@pytest.mark.parametrize("name", ["new\nline", "\x1b[2Jgone", "\x1b[31mred", "back\rwards"])
def test_names_move_no_cursor(project: Project, name: str) -> None:
    """A name that clears the screen, or says what sharedenv did not."""
    path = f"{name}/script.py"
    project.script(path, ["alpha"])
    calls = [
        ("run --no-build", 3), ("build --check", 1), ("show", 1), ("exec --no-build", 125), ("build", 0), ("list", 0), ("show", 0),
    ]  # fmt: skip
    for command, status in calls:
        stdout, stderr = run_bytes(project, *command.split(), *([] if command == "list" else [path]), status=status)
        told, _, hint = stderr.partition(b"\nhint: ")
        assert os.fsencode(printable(path)) in stdout + told, command
        assert os.fsencode(name) not in stdout + told, command
        assert not {b"\x1b", b"\r"} & {bytes([byte]) for byte in hint}, command  # a quoted line break can be pasted
    interpreter, _ = run_bytes(project, "which", path)
    assert interpreter.startswith(os.fsencode(project.pool)), "what others read stays as it is"


def test_tags_name_the_script(project: Project) -> None:
    project.script("new\nline/script.py", body="print('a'); print('b', end='')")
    project.script("b/script.py", body="print('c')")
    stdout, _ = run_bytes(project, "run", "--tag", "-k", "*/script.py")
    assert sorted(stdout.splitlines()) == [b"b/script.py\tc", b"new\\nline/script.py\ta", b"new\\nline/script.py\tb"]


def test_paths_beyond_a_command_line(project: Project) -> None:
    deep = "d" * 200
    names = [f"{deep}{number}/script.py" for number in range(30)]
    for name in names:
        project.script(name, body="print('x')")
    (project.path / "list").write_text("".join(f"{name}\n" for name in names * 400))  # 2.5 MB, each name many times
    done = project.call("run", "--from-file", "list")
    assert done.stdout == "x\n" * 30


def test_a_folder_that_may_not_be_entered_fails_alone(project: Project) -> None:
    project.copies(3)
    (project.path / "case2").chmod(0o400)
    try:
        done = project.call("run", "case1/script.py", "case2/script.py", status=2, prefix=UNPRIVILEGED)
        assert "ermission denied" in done.stderr
    finally:
        (project.path / "case2").chmod(0o755)


def test_a_folder_that_vanishes_between_plan_and_start_fails_alone(project: Project) -> None:
    scripts = project.copies(3, body="import shutil, os\nif os.getcwd().endswith('case1'): shutil.rmtree('../case2')\nprint('x')")
    done = project.call("run", "-j1", "case*/script.py", status=1)
    assert done.stdout == "x\nx\n"
    assert "failed: case2/script.py: its folder can't be entered: No such file or directory" in done.stderr
    assert not scripts[1].exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [("a b", "a b"), ("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), (os.fsdecode(b"\xff"), "\\xff"), ("☃", "☃"), ("\u202e", "\\u202e")],
)
def test_printable(text: str, line: str) -> None:
    assert printable(text) == line


def test_a_locale_of_eight_bits_changes_no_name(project: Project, tmp_path: Path) -> None:
    """uv asks a Python where it is, and both speak UTF-8 then; what we print of a path are its bytes."""
    folder = project.path / "caf\u00e9"
    script = project.script("caf\u00e9/s.py", ["alpha"], "import alpha; print('ran')")
    project.env.update(eight_bit_locale(tmp_path), SHAREDENV_POOL=str(folder / ".sharedenv"))
    project.path = folder
    project.call("build", "s.py", encoding="utf-8")
    fast = project.call("which", "s.py", encoding="utf-8").stdout
    assert fast == f"{folder}/.sharedenv/envs/{project.environments[0].name}/bin/python\n"
    for link in (project.pool / "index").iterdir():
        link.unlink()
    assert project.call("which", "s.py", encoding="utf-8").stdout == fast
    done = project.call("which", str(script), *map(str, range(99)), status=2, encoding="utf-8")
    assert "... and 94 more" in done.stderr, "what the locale has no character for"


def test_a_pool_in_a_folder_that_is_not_utf8_is_refused_in_words(project: Project, tmp_path: Path) -> None:
    """uv makes no environment there; with a pool elsewhere the scripts run."""
    project.path = Path(os.fsdecode(os.fsencode(project.path) + b"/p\xff"))
    project.script("s.py", ["alpha"], "print('ran')")
    _, stderr = run_bytes(project, "build", "s.py", status=3)
    assert b"no environment can be built in" in stderr and b"p\xff/.sharedenv" in stderr and b"not UTF-8" in stderr
    assert os.listdir(project.path) == ["s.py"]
    assert run_bytes(project, "--pool", str(tmp_path / "pool"), "exec", "s.py")[0] == b"ran\n"


def test_a_pool_that_was_moved_to_such_a_folder_is_used_and_not_added_to(project: Project) -> None:
    project.script("s.py", body="print('ran')")
    project.script("t.py", ["alpha"])
    project.call("build", "s.py")
    moved = Path(os.fsdecode(os.fsencode(project.path) + b"\xff"))
    project.path.rename(moved)
    project.path = moved
    assert run_bytes(project, "exec", "s.py")[0] == b"ran\n"
    assert run_bytes(project, "run", "s.py")[0] == b"ran\n"
    assert b"not valid UTF-8" in run_bytes(project, "build", "t.py", status=3)[1], "in words of uv"
