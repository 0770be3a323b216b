"""`sharedenv run` as users call it."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sharedenv.run.allot import default_jobs
from tests.conftest import Project
from tests.faults import ignoring, limited_to, mounted


def test_scripts_run_in_their_environment_and_folder(project: Project) -> None:
    body = "import alpha, os, sys\nprint(alpha.VERSION, os.path.basename(os.getcwd()), os.environ['VIRTUAL_ENV'] == sys.prefix)"
    project.copies(3, ["alpha"], body)
    done = project.call("run", "-k", "case*/script.py")
    assert done.stdout == "2.0 case1 True\n2.0 case2 True\n2.0 case3 True\n"
    assert "3 scripts in" in done.stderr
    assert "3 succeeded" in done.stderr


def test_pythonhome_does_not_leak(project: Project) -> None:
    body = "import os\ne = os.environ\nprint(e.get('PYTHONHOME'), e['PATH'].split(':')[0].endswith('/bin'), e.get('OMP_NUM_THREADS'))"
    project.copies(1, body=body)
    project.call("build", "case1/script.py")
    code = (
        "import os, sys; os.environ['PYTHONHOME'] = '/nowhere'; from sharedenv.cli.main import main; "
        "sys.exit(main(['run', '--threads', '3', 'case1/script.py']))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=project.env, cwd=project.path, capture_output=True, text=True, check=True)
    assert done.stdout == "None True 3\n"


def test_scripts_that_are_ready_do_not_wait_for_a_build(project: Project) -> None:
    # uv itself waits until the script that is ready has run
    project.script("a/script.py", body="import os; os.rename('../late', '../ran')")
    project.script("b/script.py", ["alpha"], body="import alpha; print(alpha.VERSION)")
    project.call("build", "a/script.py")
    (project.path / "late").touch()
    uv = project.path / "bin" / "uv"
    uv.parent.mkdir()
    real = subprocess.run(["which", "uv"], env=project.env, capture_output=True, text=True, check=True).stdout.strip()
    uv.write_text(f"#!/bin/sh\nwhile ! test -e {project.path}/ran; do sleep 0.05; done\nexec {shlex.quote(real)} \"$@\"\n")
    uv.chmod(0o755)
    done = project.call("run", "-j1", "b/script.py", "a/script.py", env={"SHAREDENV_UV": str(uv)})
    assert done.stdout == "2.0\n"


def test_a_build_that_fails_is_exit_3_and_the_others_run(project: Project) -> None:
    project.script("a/script.py", ["nothing-of-this-name"], body="print('a')")
    project.script("b/script.py", body="print('b')")
    done = project.call("run", "*/script.py", status=3)
    assert done.stdout == "b\n"
    assert "nothing-of-this-name" in done.stderr
    assert "1 succeeded, 1 failed" in done.stderr


def test_an_environment_that_cannot_be_built_is_told_once_with_its_cause(project: Project) -> None:
    project.copies(3, ["nothing-of-this-name"])
    told = project.call("run", "case*/script.py", status=3).stderr
    [line] = [line for line in told.splitlines() if line.startswith("failed:")]
    why = "nothing-of-this-name is not in uv's cache, and UV_OFFLINE keeps uv from asking an index"
    assert line == f"failed: case1/script.py and 2 more: its environment could not be built: {why}"
    assert "  3 × its environment could not be built (why: above)" in told.splitlines()
    summary = [line for line in project.call("status").stdout.splitlines() if " × " in line]
    assert summary == [f"  3 × its environment could not be built: {why}"]


def test_no_build_runs_nothing(project: Project) -> None:
    project.copies(2, body="print('x')")
    done = project.call("run", "--no-build", "case*/script.py", status=3)
    assert done.stdout == ""
    assert not (project.pool / "runs").exists() or not list((project.pool / "runs").iterdir())
    project.call("build", "case*/script.py")
    assert project.call("run", "--no-build", "case*/script.py").stdout == "x\nx\n"


def test_bad_scripts_run_nothing(project: Project) -> None:
    project.copies(2, body="print('x')")
    (project.path / "case2/script.py").write_text("print('no block')\n")
    done = project.call("run", "case*/script.py", status=2)
    assert done.stdout == ""
    assert not project.pool.exists()


def test_an_empty_name_is_called_so(project: Project) -> None:
    project.copies(1)
    assert "an empty name among the scripts" in project.call("run", "case1/script.py", "", status=2).stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("run", "case1/script.py", "--steps", "5"), "hint: sharedenv run SCRIPT -- --steps 5, when"),
        (("submit", "case1/script.py", "--steps=5"), "hint: sharedenv submit SCRIPT -- --steps=5, when"),
        (("run", "case1/script.py", "--captur", "x"), "; or sharedenv run --help"),
        (("list", "--steps"), "hint: sharedenv list --help"),
    ],
)
def test_an_option_in_the_wrong_place_is_told_its_own(project: Project, words: tuple[str, ...], hint: str) -> None:
    assert hint in project.call(*words, status=2).stderr


def test_arguments_reach_every_script_as_they_are(project: Project) -> None:
    project.copies(2, body="import sys; print(sys.argv[1:])")
    done = project.call("run", "case*/script.py", "--", "--resume", "-j", "a b", "--", "")
    assert done.stdout == "['--resume', '-j', 'a b', '--', '']\n" * 2


@pytest.mark.parametrize("way", [(), ("--preload",)])
def test_ends_of_children_are_learnt_though_sigchld_was_ignored(project: Project, way: tuple[str, ...]) -> None:
    project.copies(2, [], "import signal\nprint(signal.getsignal(signal.SIGCHLD).name)")
    done = project.call("run", *way, "case*/script.py", prefix=ignoring(signal.SIGCHLD))
    assert done.stdout == "SIG_DFL\n" * 2
    assert "2 succeeded" in done.stderr
    project.script("bad.py", ["nowhere"])
    done = project.call("build", "bad.py", prefix=ignoring(signal.SIGCHLD), status=3)
    assert "cause: nowhere" in done.stderr and "keeps uv from asking an index" in done.stderr


def test_a_file_that_cant_be_opened_is_told_as_the_limit_it_meets(project: Project) -> None:
    project.copies(2)
    project.call("build", "case*/script.py")
    for files in (6, 8):  # some are open already: where the limit strikes is not for a user to know
        prefix = ["bash", "-c", 'ulimit -n "$0"; exec "$@"', str(files)]
        done = project.call("run", "case*/script.py", prefix=prefix, status=1)
        assert "error: can't open another file\n" in done.stderr
        assert "hint: ulimit -n\n" in done.stderr


@pytest.mark.root
@pytest.mark.parametrize(("processes", "way"), [(1, ()), (1, ("--preload",)), (2, ("--preload",))])
def test_a_thread_that_cant_be_had_is_told_as_the_limit_it_meets(project: Project, processes: int, way: tuple[str, ...]) -> None:
    project.copies(2)
    project.call("build", "case*/script.py")
    done = project.call("run", *way, "-j2", "case*/script.py", prefix=limited_to(processes), status=1)
    assert "error: can't start another thread\n" in done.stderr
    assert "hint: ulimit -u\n" in done.stderr
    assert not list(project.path.parent.glob("sharedenv-bug-*"))


@pytest.mark.root
def test_a_process_that_cant_be_had_is_told_as_the_limit_it_meets(project: Project) -> None:
    project.copies(2)
    project.call("build", "case*/script.py")
    done = project.call("run", "case*/script.py", prefix=limited_to(2), status=1)
    assert "its Python can't be started: Resource temporarily unavailable (see ulimit -u)" in done.stderr


def test_outputs_are_whole_on_their_own_streams(project: Project) -> None:
    body = (
        "import os, sys, time\nn = os.path.basename(os.getcwd())\nfor i in range(50):\n    print(n, i, flush=True)\n"
        "    print(n, i, 'error', file=sys.stderr, flush=True)"
    )
    project.copies(6, body=body)
    done = project.call("-q", "run", "-j3", "case*/script.py")
    for text in (done.stdout, done.stderr):
        runs = [line.split()[0] for line in text.splitlines()]
        assert len(runs) == 300
        assert sum(1 for before, after in itertools.pairwise(runs) if before != after) == 5
    assert "error" not in done.stdout


def test_keep_order(project: Project) -> None:
    body = (
        "import os, time\nn = int(os.getcwd()[-1])\nif n == 1:\n"
        "    while len([d for d in os.listdir('..') if os.path.exists(f'../{d}/ran')]) < 3: time.sleep(.01)\n"
        "open('ran', 'x')\nprint(n)"
    )
    project.copies(4, body=body)
    assert project.call("run", "-j2", "-k", "case*/script.py").stdout == "1\n2\n3\n4\n"


def test_capture_writes_into_each_folder(project: Project) -> None:
    project.copies(2, body="import sys; print('out'); print('err', file=sys.stderr)")
    done = project.call("run", "--capture", "log.txt", "case*/script.py")
    assert done.stdout == ""
    assert sorted((project.path / "case1/log.txt").read_text().split()) == ["err", "out"]
    project.script("case1/other.py")
    refused = project.call("run", "--capture", "log.txt", "case1/*.py", status=2)
    assert "would be written by several scripts" in refused.stderr


def test_one_folder_for_all(project: Project) -> None:
    project.copies(2, body="import os; print(os.getcwd())")
    (project.path / "work").mkdir()
    assert project.call("run", "--cwd", "work", "case*/script.py").stdout == f"{project.path / 'work'}\n" * 2
    assert "no folder" in project.call("run", "--cwd", "nowhere", "case*/script.py", status=2).stderr


@pytest.mark.parametrize("jobs", ["+2", "50%"])
def test_jobs_that_count_from_the_cpus_are_refused(project: Project, jobs: str) -> None:
    """GNU parallel's +2 was taken as 2."""
    project.script("s.py")
    for command in ("run", "submit", "build"):
        said = f"'{jobs}' counts from the number of CPUs, as GNU parallel does: give the number itself, as -j \"$(nproc)\""
        assert said in project.call(command, "-j", jobs, "s.py", status=2).stderr
    project.shell(f'{shlex.quote(sys.executable)} -m sharedenv run -j "$(nproc)" s.py')


def test_the_line_about_a_build_says_why(project: Project) -> None:
    """uv's first cause said no more than that there was one."""
    project.script("a.py", ["no-such-package"])
    env = {"UV_OFFLINE": "0", "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    told = project.call("run", "a.py", status=3, env=env).stderr
    said = "failed: a.py: its environment could not be built: "
    assert f"{said}no connection to 127.0.0.1:9 (from UV_DEFAULT_INDEX): Connection refused\n" in told
    project.script("b.py", ["alpha"])
    (project.path / "b.py.lock").write_text("garbage here")
    assert f"{said}its lock file b.py.lock is damaged".replace("a.py", "b.py", 1) in project.call("run", "b.py", status=3).stderr
    project.script("c.py", ["alpha"])
    assert "could not be built: no Python here is 3.99 (from --python" in project.call("run", "--python", "3.99", "c.py", status=3).stderr


@pytest.mark.root
def test_a_joblog_on_a_full_disk_is_told(project: Project, tmp_path: Path) -> None:
    """Its last line was written in part, which nobody said."""
    project.script("case1/script.py", body="raise SystemExit(1)")
    project.call("run", "case1/script.py", status=1)
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=4k", "none") as folder:
        (folder / "log").write_bytes(b"x" * 4090)  # a resumed run goes on in it
        done = project.call("run", "--resume", "--joblog", str(folder / "log"), status=1)
        assert "the joblog can't be written (No space left on device)" in done.stderr
        assert (folder / "log").stat().st_size == 4096


def test_joblog_has_gnu_parallels_columns(project: Project) -> None:
    project.script("a/script.py", body="print('1234')")
    project.script("b/script.py", body="raise SystemExit(7)")
    project.script("c/script.py", body="import os; os.kill(os.getpid(), 9)")
    project.script("d/script.py", body="import time; time.sleep(600)")
    project.call("run", "*/script.py", "--timeout", "3", "--grace", "1", "--joblog", "log", status=1)
    header, *rows = [line.split("\t") for line in (project.path / "log").read_text().splitlines()]
    assert header == ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command"]
    by_number = {int(row[0]): row for row in rows}
    assert [(by_number[n][5], by_number[n][6], by_number[n][7]) for n in (1, 2, 3, 4)] == [
        ("5", "0", "0"), ("0", "7", "0"), ("0", "0", "9"), ("0", "-1", "15"),
    ]  # fmt: skip
    assert by_number[1][8].endswith("a/script.py")


def test_a_share_says_which_it_is_and_the_task_of_an_array_when_it_runs_all(project: Project) -> None:
    project.copies(7)
    assert "share 3 of 3: 2 of 7 scripts\n" in project.call("run", "--shard", "3/3", "case*/script.py").stderr
    assert "share 3 of 3: 0 to run" in project.call("run", "--resume", "--shard", "3/3", "case*/script.py").stderr

    def task(number: int, count: int, *words: str) -> str:
        variables = {"ID": number, "MIN": number, "MAX": number + count - 1, "STEP": 1, "COUNT": count}
        env = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in variables.items()}
        return project.call("run", *words, env=env).stderr

    assert "warning: each of the 4 tasks of this array runs the same 7 scripts; with --array they share them\n" in task(
        3, 4, "case*/script.py"
    )
    for words in (["case3/script.py"], ["case[35]/script.py"], ["case*/script.py", "--", "3"]):
        assert "warning" not in task(3, 4, *words)
    assert "warning" not in task(3, 1, "case*/script.py")


def test_shares_add_to_one_joblog(project: Project) -> None:
    project.copies(5)
    project.call("build", "case*/script.py")
    shares = [project.start("run", "--no-build", "--shard", f"{index}/2", "--joblog", "log", "case*/script.py") for index in (1, 2)]
    assert [share.wait(120) for share in shares] == [0, 0]
    header, *rows = (project.path / "log").read_text().splitlines()
    assert header.startswith("Seq\t")
    assert sorted((row.split("\t")[0], row.rpartition("/")[0].rpartition("/")[2]) for row in rows) == [(str(n), f"case{n}") for n in range(1, 6)]
    project.call("run", "--joblog", "log", "case1/script.py")
    assert len((project.path / "log").read_text().splitlines()) == 2


def test_dry_run_prints_commands_and_does_nothing(project: Project) -> None:
    project.copies(2, body="open('ran', 'x')")
    done = project.call("run", "--dry-run", "case*/script.py", "--", "a b")
    assert "1 environment would be built" in done.stderr
    assert not project.pool.exists()
    project.call("build", "case*/script.py")
    commands = project.call("run", "--dry-run", "case*/script.py", "--", "a b").stdout
    assert commands.count("\n") == 2
    subprocess.run(["sh", "-e"], input=commands, text=True, check=True)
    assert (project.path / "case2/ran").exists()


def test_dry_run_asks_once_what_was_begun_before(project: Project) -> None:
    """It is a set of all results: made for each case, `run --resume --dry-run` of 100,000 took half a minute."""
    project.copies(3)
    code = (
        "from sharedenv.app.work import Work; from sharedenv.cli.main import main; asked = []; begun = Work.begun.fget\n"
        "Work.begun = property(lambda work: asked.append(1) or begun(work))\n"
        "main(['run', '--dry-run', 'case*/script.py'])\nassert len(asked) == 1, asked"
    )
    subprocess.run([sys.executable, "-c", code], env=project.env, cwd=project.path, capture_output=True, check=True)


def test_shards_are_disjoint_and_whole(project: Project) -> None:
    project.copies(7, body="open('ran', 'x')")
    project.call("build", "case*/script.py")
    for shard in ("1/3", "2/3", "3/3"):
        project.call("run", "--shard", shard, "case*/script.py")
    assert all((project.path / f"case{n}/ran").exists() for n in range(1, 8))
    assert "nothing to run" in project.call("run", "--shard", "1/9", "case*/script.py").stderr
    project.call("run", "case*/script.py", env={"SHAREDENV_SHARD": "1/2"}, status=1)
    assert project.call("status", "--all").stdout.splitlines()[1].endswith("sharedenv run 'case*/script.py' (share 1/2)")
    assert "give one of them" in project.call("run", "--shard", "1/2", "--array", "case1/script.py", status=2).stderr


def test_a_reader_that_leaves_stops_the_run(project: Project) -> None:
    project.copies(40, body="print('x' * 100000)")
    project.call("build", "case*/script.py")
    process = project.start("run", "-j1", "case*/script.py")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        stderr = process.stderr.read()
    assert process.wait(timeout=120) == 1
    assert "output can't be written (Broken pipe): starting nothing more" in stderr
    # those whose output was lost have failed: nothing is lost without a word
    done = project.call("run", "--resume")
    assert "40 succeeded" in project.call("status").stdout, done.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_a_log_that_takes_nothing_ends_no_run(project: Project, redirection: str) -> None:
    project.copies(3, body="print('x')")
    project.script("case4/script.py", body="import sys; sys.exit(1)")
    command = f'"$@" run -j1 "case*/script.py" {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "sharedenv"],
        env=project.env, cwd=project.path, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False, text=True, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "x\nx\nx\n")
    assert "3 succeeded, 1 failed" in project.call("status").stdout


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_our_own_lines_begin_where_a_script_left_its_line_open(project: Project, stream: str) -> None:
    project.copies(2, body=f"import sys; sys.{stream}.write('no end'); sys.exit(1)")
    done = project.call("run", "-j1", "case*/script.py", status=1, stderr=subprocess.STDOUT)
    lines = done.stdout.splitlines()
    assert lines.count("no end") == 2
    assert sum(line.startswith("failed: case") for line in lines) == 2


def test_thousands_that_fail_do_not_fill_the_screen(project: Project) -> None:
    project.copies(15, body="import sys; sys.exit(1)")
    lines = project.call("run", "case*/script.py", "--retries", "2", status=1).stderr.splitlines()
    assert sum(line.startswith("failed") for line in lines) == 10
    assert lines.count("further failures are told at the end") == 1


def test_a_time_limit_of_zero_is_none(project: Project) -> None:
    project.copies(1, body="print('x')")
    assert project.call("run", "--timeout", "0", "case1/script.py").stdout == "x\n"


def test_an_end_by_signal_is_told(project: Project) -> None:
    project.copies(1, body=f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    assert "killed by SIGSEGV" in project.call("run", "case1/script.py", status=1).stderr


def test_quiet_and_verbose(project: Project) -> None:
    project.copies(2, body="print('x')")
    assert project.call("-q", "run", "case*/script.py").stderr == ""
    assert "done: case1/script.py" in project.call("-v", "run", "case*/script.py").stderr


@pytest.mark.parametrize(
    ("on_node", "beside", "jobs"),
    [("1", "", 1), ("99999", "", None), ("2", "2(x3),1", 1), ("1", "4", 1), ("x", "", None)],
)
def test_jobs_in_a_job_that_is_not_bound_to_its_cpus(on_node: str, beside: str, jobs: int | None) -> None:
    """The machine has more, and other tasks of the same step have theirs."""
    environ = {"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": on_node, "SLURM_STEP_TASKS_PER_NODE": beside}
    assert default_jobs(environ) == (jobs or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("given", "jobs"), [("3", 3), ("0", None), ("", None), ("x", None)])
def test_jobs(given: str, jobs: int | None) -> None:
    assert default_jobs({"SLURM_CPUS_PER_TASK": given}) == (jobs or len(os.sched_getaffinity(0)))


def test_a_joblog_goes_on_behind_a_torn_line_and_by_the_places_of_its_share(project: Project) -> None:
    project.copies(4, body="import os, sys; sys.exit(os.getcwd().endswith('4') and not os.path.exists('../mended'))")
    project.call("run", "-j1", "--shard", "2/2", "case*/script.py", "--joblog", "log", status=1)
    log = project.path / "log"
    log.write_text(log.read_text() + "9\ttorn")
    (project.path / "mended").touch()
    project.call("run", "--retry-failed")
    rows = [row.split("\t") for row in log.read_text().splitlines()[1:]]
    assert [(row[0], row[-1].rpartition("/case")[2]) for row in rows] == [
        ("1", "1/script.py"), ("4", "4/script.py"), ("9", "torn"), ("4", "4/script.py"),
    ]  # fmt: skip
