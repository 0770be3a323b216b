"""What is left by the killed and the stopped, and what names and disks do to lines: the small ends of trust."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from sharedenv.build.left import PREFIX, clear_left
from sharedenv.copies import archive as archives
from sharedenv.errors import SharedenvError
from sharedenv.pool import staging as stagings
from sharedenv.pool.layout import FOLDERS, Layout
from sharedenv.pool.lease import lease
from sharedenv.pool.owner import is_here, lives
from sharedenv.pool.staging import builder_of, sign, staging
from sharedenv.pool.store import Environment, examine
from sharedenv.report import output as outputs
from sharedenv.report.output import Output
from sharedenv.run.case import Case
from sharedenv.run.journal.living import going_on
from sharedenv.run.journal.runs import list_runs, newest_first
from sharedenv.run.spool import Spool
from sharedenv.start.staged import identity
from tests.conftest import Project
from tests.faults import mounted, require, wait_for
from tests.lab import ALICE, BOB, new_lab


def layout_in(folder: Path) -> Layout:
    for name in FOLDERS:
        (folder / name).mkdir()
    return Layout(str(folder))


def in_child(act: object) -> None:
    """Calls something in a process that ends with it."""
    pid = os.fork()
    if not pid:
        try:
            assert callable(act)
            act()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_a_removal_of_a_staging_folder_that_is_killed_is_known_as_rubbish(tmp_path: Path, removed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its note of who built there goes last."""
    layout = layout_in(tmp_path)

    def build() -> None:
        left = removed

        def remove(path: str) -> None:
            nonlocal left
            os.system(f"rm -r '{path}'")
            left -= 1
            if not left:
                os._exit(0)

        with staging(layout, "0" * 64) as folder:
            for name in ("a", "z", "owner.jsonx"):
                Path(folder, name).mkdir()
            monkeypatch.setattr(stagings, "remove_tree", remove)

    in_child(build)
    [folder] = (tmp_path / "tmp").iterdir()
    owner = builder_of(str(folder))
    assert owner is not None
    assert is_here(owner)
    assert not lives(owner, 0.0)


def test_folders_of_killed_builds_go_from_tmpdir(tmp_path: Path) -> None:
    """What a living one has, what may be another machine's, and what isn't a build's stays."""
    folders = {name: tmp_path / f"{PREFIX}{name}" for name in ("dead", "alive", "elsewhere", "old", "strange")}
    for path in folders.values():
        path.mkdir()
        (path / "uv-lock").touch()
    in_child(lambda: sign(str(folders["dead"])))
    sign(str(folders["alive"]))
    (folders["elsewhere"] / "owner.json").write_text('{"host": "node9", "machine": "another", "pid": 1, "start": "1"}')
    os.utime(folders["old"], (1e9, 1e9))
    (tmp_path / f"{PREFIX}link").symlink_to(folders["old"])
    (tmp_path / "other").mkdir()
    clear_left(str(tmp_path))
    left = {path.name.removeprefix(PREFIX) for path in tmp_path.iterdir()}
    assert left == {"alive", "elsewhere", "strange", "link", "other"}
    clear_left(str(tmp_path / "none"))


def test_the_next_build_removes_what_a_killed_one_left_in_tmpdir(project: Project, tmp_path: Path) -> None:
    project.script("s.py", ["alpha"])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = project.start("build", "s.py", env={"TMPDIR": str(scratch)}, start_new_session=True)
    wait_for(lambda: any(path.stat().st_size for path in scratch.glob(f"{PREFIX}*/owner.json")))  # who is killed before it says so is unknown
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    project.call("build", "s.py", env={"TMPDIR": str(scratch)})
    assert not list(scratch.glob(f"{PREFIX}*"))


@pytest.mark.parametrize("key", ["0" * 64, "archive-000000000000-1-000000000000"])
def test_who_waits_is_told_since_when_the_holder_has_it(tmp_path: Path, key: str) -> None:
    """Not its last heartbeat: a lease is touched over and over."""
    layout = layout_in(tmp_path)
    told: list[tuple[str, float]] = []
    began = time.time()
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lease(layout, key, waiting=lambda *_: None):
            os.utime(tmp_path / "locks" / key, (began + 500, began + 500))
            held.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)

    def tell(holder: str, since: float) -> None:
        told.append((holder, since))
        over.set()

    with lease(layout, key, waiting=tell) as contended:
        assert contended
    thread.join()
    [(holder, since)] = told
    assert holder.startswith(f"pid {os.getpid()} on ")
    assert abs(since - began) < 60


def test_no_prune_takes_what_is_being_packed(project: Project, tmp_path: Path) -> None:
    """Its archive was half made when the files went."""
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    with lease(Layout(str(project.pool)), f"archive-{identity(str(project.environments[0]))}", waiting=lambda *_: None):
        process = project.start("stage", "--to", str(tmp_path / "local"), "s.py")
        held = project.environments[0] / "sharedenv.json"
        wait_for(lambda: str(held) in {os.path.realpath(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()})
        assert "in use by process" in project.call("prune", "--unused-for", "0s").stdout
    assert process.wait() == 0
    assert "removed" in project.call("prune", "--unused-for", "0s").stdout
    assert "sharedenv build s.py" in project.call("stage", "--to", str(tmp_path / "other"), "s.py", status=3).stderr


def test_an_archive_that_was_never_finished_goes_with_the_next_prune(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it has signed the folder that it was made in."""
    project.script("s.py", ["alpha"])
    project.call("build", "s.py")
    layout = Layout(str(project.pool))
    environment = examine(layout, str(project.environments[0]))
    assert isinstance(environment, Environment)

    def make() -> None:
        monkeypatch.setattr(archives, "write_archive", lambda *_: os._exit(0))
        archives.make_archive(layout, environment, lambda *_: None)

    in_child(make)
    assert list((project.pool / "tmp").glob("*/archive.tar"))
    project.call("prune")
    assert not list((project.pool / "tmp").iterdir())
    assert not list((project.pool / "locks").iterdir())


def test_what_is_left_in_tmp_is_named(project: Project) -> None:
    """Though nothing tells whether its process lives: files there live for an instant, a folder is signed at once."""
    project.script("s.py")
    project.call("build", "s.py")
    tmp = project.pool / "tmp"
    (tmp / "failure-0123").touch()
    (tmp / "000000000000-abcdef").mkdir()
    (tmp / "000000000000-fedcba").mkdir()
    (tmp / "000000000000-fedcba/owner.json").touch()
    before = {str(path) for path in tmp.iterdir()}
    rubbish = json.loads(project.call("prune", "--json").stdout)["rubbish"]
    assert {item["path"] for item in rubbish if not item["removed"]} == before
    for path in before:
        os.utime(path, (time.time() - 4000,) * 2)
    project.call("prune")
    assert not list(tmp.iterdir())


@pytest.mark.root
def test_a_colleague_s_unpublished_environment_is_taken_up(offline_env: dict[str, str], wheels: Path) -> None:
    """Its builder was killed between its last two steps: only they may change the mode of its folder."""
    with new_lab(offline_env, wheels) as lab:
        lab.script("s.py")
        lab.call(ALICE, "build", "--shared-group", "s.py")
        [environment] = lab.environments
        environment.chmod(0o755)
        for path in [*(lab.pool / "keys").iterdir(), *(lab.pool / "index").iterdir()]:
            path.unlink()
        assert lab.call(BOB, "exec", "s.py").stdout == "ran\n"
        assert lab.environments == [environment]


TIDIES = """
import signal, sys, time
def tidy(*_):
    open("asked", "x")
    end = time.monotonic() + 1.5
    while time.monotonic() < end: time.sleep(0.05)
    open("tidied", "x")
    sys.exit(1)
signal.signal(signal.SIGTERM, tidy)
open("begun", "x")
time.sleep(60)
"""


def test_a_stop_is_no_part_of_a_grace(project: Project) -> None:
    """Ctrl-C, Ctrl-Z, lunch, fg: a script that tidies up was killed at once."""
    project.script("case1/s.py", body=TIDIES)
    folder = project.path / "case1"
    process = project.start("run", "--grace", "4", "case1/s.py")
    wait_for((folder / "begun").exists)
    process.send_signal(signal.SIGINT)
    wait_for((folder / "asked").exists)
    process.send_signal(signal.SIGTSTP)
    stat = Path(f"/proc/{process.pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
    time.sleep(5)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert (folder / "tidied").exists()


def test_a_name_in_a_joblog_and_a_tag_moves_no_cursor(project: Project) -> None:
    """And what the joblog says is still a command that runs the script."""
    names = ["a\x1b[2Jb/s.py", "tab\there/s.py", "quote's\x07\\x/s.py"]
    for name in names:
        project.script(name, body="import os; print(os.getcwd())")
    done = project.call("run", "-k", "--tag", "--joblog", "log", *names)
    text = (project.path / "log").read_text()
    assert "\x1b" not in done.stdout.replace(str(project.path), "").partition("\t")[0]
    assert "\x1b" not in text
    assert "\x07" not in text
    rows = [line.split("\t", 8) for line in text.splitlines()[1:]]
    assert all(len(row) == 9 and "\t" not in row[8] for row in rows)
    for row in rows:
        ran = subprocess.run(["bash", "-c", row[8]], capture_output=True, text=True, check=True)
        assert ran.stdout.endswith("\n")
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} >= {"a\\x1b[2Jb/s.py", "tab\\there/s.py"}


def test_a_joblog_that_is_no_file_is_never_waited_for(project: Project) -> None:
    """A pipe that somebody reads is fine, and so is a device."""
    project.script("s.py")
    os.mkfifo(project.path / "pipe")
    assert "nobody reads from this pipe" in project.call("run", "--joblog", "pipe", "s.py", status=2).stderr
    with subprocess.Popen(["cat", project.path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        project.call("run", "--joblog", "pipe", "s.py")
        assert reader.stdout is not None
        assert reader.stdout.read().count("\n") == 2
    project.call("run", "--joblog", "/dev/null", "--resume", "s.py")
    (project.path / "endless").symlink_to("/dev/zero")
    project.call("run", "--joblog", "endless", "--retry-failed", "s.py")


def test_what_waits_for_its_turn_stays_in_memory_where_the_disk_is_full(project: Project, tmp_path: Path) -> None:
    require("mount")
    body = "import os, time\nif os.path.exists('first'): time.sleep(1)\nprint('x' * (1120 << 10))"
    project.copies(3, body=body)
    (project.path / "case1" / "first").touch()
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1100k", "none") as folder:
        done = project.call("run", "-j3", "-k", "case*/script.py", env={"TMPDIR": str(folder)})
    assert done.stdout == ("x" * (1120 << 10) + "\n") * 3
    assert f"can't be kept in {folder} (No space left on device): it stays in memory; TMPDIR names another place" in done.stderr
    assert "3 succeeded" in done.stderr


def test_what_waits_in_memory_has_its_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(outputs, "IN_MEMORY", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    output = Output(order=[1, 2])
    spool, nothing = Spool(), Spool()
    spool.add(b"x" * 8)
    output.write(Case(2, "s.py"), spool, nothing)
    assert "it stays in memory" in output.crowded
    with pytest.raises(FileNotFoundError):
        output.write(Case(2, "s.py"), spool, nothing)


@pytest.mark.parametrize("what", ["inodes", "bytes"])
@pytest.mark.root
def test_a_disk_that_is_full_before_the_journal_runs_nothing(project: Project, tmp_path: Path, what: str) -> None:
    """Exit 2, as for all that is known before anything was run."""
    require("mount")
    project.script("s.py", body="open('ran', 'x')")
    project.call("build", "s.py")
    with mounted(project.pool / "runs", "-t", "tmpfs", "-o", "mode=755,size=4k,nr_inodes=2" if what == "inodes" else "mode=755,size=4k", "none") as runs:
        if what == "bytes":
            (runs / "filling").write_bytes(b"x" * 4096)
        done = project.call("run", "s.py", status=2)
        assert "can't write the journal" in done.stderr
        assert not (project.path / "ran").exists()


def test_orphans_of_a_run_are_known_after_later_runs(project: Project) -> None:
    """Only the last run was looked at: a second process in their folders mixed with them."""
    project.copies(2, body="import os, time\nopen(f'ran{os.getpid()}', 'x')\ntime.sleep(60 if os.path.exists('slow') else 0)")
    project.script("other.py")
    (project.path / "case1/slow").touch()
    process = project.start("run", "-j2", "case*/script.py")
    wait_for(lambda: len(list(project.path.glob("case*/ran*"))) == 2)
    process.kill()
    process.wait()
    for _ in range(2):
        project.call("run", "other.py")
    try:
        assert "are still running: case1/script.py" in project.call("run", "case1/script.py", status=2).stderr
        project.call("run", "case2/script.py")
    finally:
        [path] = (project.path / "case1").glob("ran*")
        os.kill(int(path.name[3:]), signal.SIGKILL)
    (project.path / "case1/slow").unlink()
    project.call("run", "case1/script.py")


def test_which_runs_are_over_is_noted_and_never_believed_for_one_that_changed(project: Project) -> None:
    project.script("s.py", body="import os, sys; sys.exit(os.path.exists('fails'))")
    runs = project.pool / "runs"
    for _ in range(17):
        project.call("run", "s.py")
    for path in runs.iterdir():
        os.utime(path, (1e9, 1e9))
    assert going_on(str(runs)) == []
    noted = (runs / ".over").read_text().splitlines()
    assert len(noted) == 17
    run = runs / noted[0].split()[0]
    (run / "results-local.1.jsonl").write_text("")
    assert going_on(str(runs)) == [], "the note is believed while the folder is as it was"
    (run / "results-local.2.jsonl").write_text("")
    assert going_on(str(runs)) == [run.name]
    for damage in (b"\xff\xff", b"one two three\n", b"name notanumber\n"):
        (runs / ".over").write_bytes(damage)
        assert going_on(str(runs)) == [run.name]
    (runs / ".over").unlink()
    os.mkfifo(runs / ".over")
    assert going_on(str(runs)) == [run.name]
    shutil.rmtree(run)
    (runs / ".over").unlink()
    project.call("prune", "--all")
    assert not project.pool.exists(), "the note that it makes keeps no pool"


def test_the_last_run_is_the_last_whatever_it_is_called(project: Project) -> None:
    """By a clock that was in another zone, or by somebody who gave it a name."""
    project.script("s.py")
    for _ in range(3):
        project.call("run", "s.py")
    folder = project.pool / "runs"
    names = [run.id for run in list_runs(str(folder))]
    assert [run.id for run in newest_first(str(folder))] == names
    ahead = time.strftime("%Y%m%d-%H%M%S", time.localtime(time.time() + 12 * 3600))
    (folder / names[2]).rename(folder / ahead)
    (folder / names[1]).rename(folder / "a name")
    assert [run.id for run in newest_first(str(folder))] == [names[0], "a name", ahead]
    (folder / "19990101-000000").mkdir()
    unread: dict[str, SharedenvError] = {}
    assert len(list(newest_first(str(folder), unread))) == 3


if sys.platform != "linux":  # signals and /proc as Linux has them
    pytestmark = pytest.mark.skip
