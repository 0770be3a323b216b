"""`--launcher`: words before each case's Python, through which all reaches that reaches a case."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import How, how_of
from sharedenv.run.terms import Terms
from tests.cluster.test_slurm import Submitting, on
from tests.conftest import Project
from tests.faults import require
from tests.run.test_table import write_csv
from tests.slurm import wait_until

__all__ = ["on"]

BODY = "import os, sys\nprint(os.environ.get('WORD'), os.getcwd(), sys.argv[1:])\nsys.exit(int(sys.argv[1]) if sys.argv[1:] else 0)"
#: says who it is, then waits for its end, deaf to TERM where it was told so
WAITS = """
import os, signal, sys, time
if sys.argv[1:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"pid-{os.getpid()}.new", "w").close()
os.rename(f"pid-{os.getpid()}.new", f"pid-{os.getpid()}")
time.sleep(600)
"""
#: starts two ranks as mpirun does, each in a group (here: a session) of its own, and waits for them
APART = '#!/bin/bash\nsetsid "$@" & setsid "$@" & wait\n'


def results(project: Project) -> list[dict[str, object]]:
    """The results that the journals of all runs have."""
    lines = [line for path in sorted(project.pool.glob("runs/*/results*")) for line in path.read_text().splitlines()]
    return [record for record in map(json.loads, lines) if "attempt" in record]


def program(project: Project, name: str, text: str) -> Path:
    path = project.path / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def ranks(folder: Path) -> set[int]:
    """Process numbers of the ranks that have said who they are."""
    return {int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*[0-9]")}


def none_alive(pids: set[int]) -> bool:
    """Whether all of them have ended; a zombie has."""
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX":
                return False
        except (FileNotFoundError, ProcessLookupError):
            continue
    return True


def test_its_words_stand_before_the_python(project: Project) -> None:
    folders = [script.parent for script in project.copies(2, body=BODY)]
    told = project.call("run", "-k", "case*/script.py", "--launcher", "env 'WORD=two words' nice", "--joblog", "log", "--", "0", "it's")
    assert told.stdout == "".join(f"two words {folder} ['0', \"it's\"]\n" for folder in folders)
    assert "env 'WORD=two words' nice /" in (project.path / "log").read_text()
    told = project.call("run", "--dry-run", "case1/script.py", "--launcher", "env 'WORD=two words' nice")
    assert f"cd {folders[0]} && SHAREDENV_CASE_NUMBER=1 env 'WORD=two words' nice {project.pool}" in told.stdout


@pytest.mark.parametrize("status", [3, 125])
def test_a_status_comes_through(project: Project, status: int) -> None:
    project.script("s.py", body=BODY)
    told = project.call("run", "s.py", "--launcher", "env WORD=x", "--", str(status), status=1)
    assert f"failed: s.py: exit {status}" in told.stderr
    assert results(project)[0]["status"] == status


def test_a_signal_comes_through(project: Project) -> None:
    project.script("s.py", body="import os; os.kill(os.getpid(), 9)")
    assert "s.py: killed by SIGKILL" in project.call("run", "s.py", "--launcher", "env WORD=x", status=1).stderr


def test_its_own_failure_is_told_as_such(project: Project) -> None:
    project.script("s.py", body=BODY)
    program(project, "refuses", "#!/nowhere/sh\n")
    told = project.call("run", "s.py", "--launcher", "env nosuch-program", status=1).stderr
    assert "s.py: its launcher ended with 127: it did not find a command: " in told and "nosuch-program" in told
    told = project.call("run", "s.py", "--launcher", f"env {project.path}", status=1).stderr
    assert "s.py: its launcher ended with 126: it could not start a command: " in told
    told = project.call("run", "s.py", "--launcher", "./refuses", status=1).stderr
    assert "s.py: its launcher refuses can't be started: No such file" in told


@pytest.mark.parametrize("word", ["nosuch-program", "./nosuch", "/etc/passwd"])
def test_one_that_is_not_there_starts_nothing(project: Project, word: str) -> None:
    project.script("s.py", body=BODY)
    project.call("build", "s.py")
    told = project.call("run", "s.py", "--launcher", word, status=2).stderr
    assert "can't be started; nothing was run" in told and "hint: command -v" in told
    run = project.call("plan", "s.py", "--launcher", word).stdout.strip()
    assert "can't be started; nothing was run" in project.call("join", run, status=2).stderr
    assert not results(project)


@pytest.mark.parametrize(
    ("words", "told"),
    [(("a 'b",), "is no command: no closing quotation"), (("",), "a command, such as"), (("nice", "--preload"), "--preload forks one")],
)
def test_what_is_no_launcher_is_refused(project: Project, words: tuple[str, ...], told: str) -> None:
    project.script("s.py", body=BODY)
    for command in ("run", "plan", "submit"):
        assert told in project.call(command, "s.py", "--launcher", *words, status=2).stderr


def test_workers_and_a_resumed_run_have_it_too(project: Project) -> None:
    folders = [script.parent for script in project.copies(2, body=BODY + "\nopen('ran', 'a').write(os.environ['WORD'])")]
    program(project, "launch", '#!/bin/sh\nWORD="$1"; export WORD; shift; exec "$@"\n')
    run = project.call("plan", "case*/script.py", "--launcher", "./launch one").stdout.strip()
    project.call("join", run)
    project.call("run", "case*/script.py", "--launcher", "./launch two", "--", "1", status=1)
    project.call("run", "--resume", status=1, cwd=folders[0])  # a path is that of where it was typed
    assert [(folder / "ran").exists() for folder in folders] == [False, False]
    outputs = project.call("run", "--resume", status=1).stdout
    assert outputs.count("two ") == 2


def test_words_of_a_row(project: Project) -> None:
    project.script("s.py", body=BODY)
    write_csv(project.path / "t.csv", [["n"], ["1 a"], ["2 {b}"]])
    told = project.call("run", "-k", "s.py", "--table", "t.csv", "--launcher", "env WORD={n}")
    assert [line.partition(" /")[0] for line in told.stdout.splitlines()] == ["1 a", "2 {b}"]


def test_the_cpu_time_of_what_it_starts_counts(project: Project) -> None:
    body = "import os\nwhile sum(os.times()[:2]) < 0.3: pass\nprint(sum(os.times()[:2]))"
    project.script("s.py", body=body)
    program(project, "launch", '#!/bin/sh\n"$@" & wait\n')
    used = float(project.call("run", "s.py", "--launcher", "./launch").stdout)
    assert float(str(results(project)[0]["cpu"])) >= used >= 0.3


@pytest.mark.parametrize("deaf", [(), ("deaf",)], ids=["ends by TERM", "deaf to it"])
def test_a_time_limit_reaches_what_it_has_started(project: Project, deaf: tuple[str, ...]) -> None:
    project.script("s.py", body=WAITS)
    program(project, "launch", APART)
    words = ("--launcher", "./launch", "--timeout", "4", "--grace", "1", "--", *deaf)
    assert "timed out after 4 s" in project.call("run", "s.py", *words, status=1).stderr
    assert len(ranks(project.path)) == 2
    wait_until(lambda: none_alive(ranks(project.path)), "nothing is left")


def test_so_does_ctrl_c(project: Project) -> None:
    project.script("s.py", body=WAITS)
    program(project, "launch", APART)
    process = project.start("run", "s.py", "--launcher", "./launch")
    wait_until(lambda: len(ranks(project.path)) == 2, "both ranks are at work")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert none_alive(ranks(project.path))


#: how a launcher ends that is killed, and what is told of it; $1: its Python
KILLED = {
    "while its ranks are at work": (APART.replace("wait", "until [ $(ls | grep -c '^pid-[0-9]*$') = 2 ]; do :; done; kill -9 $$"), "SIGKILL"),
    "as soon as it has forked": ("#!/bin/bash\nsetsid \"$@\" & setsid \"$@\" & kill -9 $$", "killed by SIGKILL"),
    "with ranks in its own group": ("#!/bin/bash\n\"$@\" & kill -SEGV $$", "killed by SIGSEGV"),
    "below a shell": ("#!/bin/bash\nbash -c 'setsid \"$@\" & kill -9 $$' - \"$@\"\nexit $?", "exit 137"),
    "with ranks that nobody waits for": ("#!/bin/bash\n(setsid \"$@\" &)\n(setsid setsid \"$@\" &)\nkill -9 $$", "killed by SIGKILL"),
}


@pytest.mark.parametrize(("launcher", "told"), KILLED.values(), ids=list(KILLED))
def test_one_that_is_killed_leaves_nothing_behind(project: Project, launcher: str, told: str) -> None:
    project.script("s.py", body=WAITS)
    program(project, "launch", launcher)
    assert told in project.call("run", "s.py", "--launcher", "./launch", "--grace", "1", "--", "deaf", status=1).stderr
    assert not at_work(project)


def at_work(project: Project) -> list[str]:
    """What runs below this project's folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{project.path}/" in (words := (folder / "cmdline").read_bytes().decode(errors="replace")):
                found.append(words)
    return found


def test_what_another_case_has_started_lives_on(project: Project) -> None:
    """Of a launcher that is killed, only what it has started itself ends."""
    project.copies(2, body="import os, time\nwhile not os.path.exists('../killed'): time.sleep(0.01)\ntime.sleep(1)\nopen('made', 'w').close()")
    program(project, "launch", f"#!/bin/bash\nsetsid \"$@\" & [ $SHAREDENV_CASE_NUMBER = 2 ] || {{ touch {project.path}/killed; kill -9 $$; }}; wait\n")
    told = project.call("run", "-j2", "case*/script.py", "--launcher", "./launch", status=1).stderr
    assert "case1/script.py: killed by SIGKILL" in told and "1 succeeded" in told
    assert [(project.path / f"case{number}/made").exists() for number in (1, 2)] == [False, True]


#: ranks of a case sum their numbers, 1 and 2: by mpi4py, or through files as if by it
BY_MPI = "from mpi4py import MPI\nrank, size = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size\ntotal = MPI.COMM_WORLD.allreduce(rank + 1)\n"
BY_FILES = """
import glob, os, time
rank, size = (int(os.environ["OMPI_COMM_WORLD_" + name]) for name in ("RANK", "SIZE"))
with open(f"rank-{rank}.new", "w") as file:
    file.write(str(rank + 1))
os.rename(f"rank-{rank}.new", f"rank-{rank}")
while len(glob.glob("rank-*[0-9]")) < size:
    time.sleep(0.01)
total = sum(int(open(name).read()) for name in glob.glob("rank-*[0-9]"))
"""
#: says so in a file; then waits where it is told to
SAYS = """
import os, time
open(f"sum-{rank}", "w").write(f"{total} of {size}")
open(f"pid-{os.getpid()}", "w").close()
while os.path.exists("hold"):
    time.sleep(0.05)
"""
#: root may, and there may be fewer CPUs than ranks
MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("package", [pytest.param("mpi4py", marks=pytest.mark.registry), ""])
def test_ranks_of_mpi_sum_and_none_is_left(project: Project, clean_env: dict[str, str], package: str) -> None:
    require("mpirun")
    if package:
        project.env = dict(clean_env)
    body = (BY_MPI if package else BY_FILES) + SAYS
    folders = [script.parent for script in project.copies(20, [package] if package else [], body)]
    (folders[7] / "hold").touch()
    process = project.start("run", "-j2", "case*/script.py", "--launcher", "mpirun -n 2", "--grace", "2", env=MPI)
    wait_until(lambda: len(ranks(folders[7])) == 2, "the eighth case is at work", seconds=120)
    above = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1]) for pid in ranks(folders[7])}
    assert len(above) == 1, "mpirun has started both"
    os.kill(above.pop(), signal.SIGKILL)
    _, told = process.communicate(timeout=200)
    sums = [(folder / f"sum-{rank}").read_text() for folder in folders for rank in range(2)]
    assert sums == ["3 of 2"] * 40
    assert "19 succeeded" in told and "case8/script.py: killed by SIGKILL" in told
    assert none_alive(set().union(*map(ranks, folders))) and not at_work(project)


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
@pytest.mark.timeout(600)
def test_steps_of_slurm(on: Submitting) -> None:
    folders = [script.parent for script in on.copies(2, body="import os\nopen('rank-' + os.environ['SLURM_PROCID'], 'w')")]
    launcher = ("--launcher", "srun --exact --overlap -n 2", "--sbatch=--ntasks=2", "--tasks", "1", "-j2", "--wait")
    on.call("submit", "case*/script.py", *launcher)
    assert [sorted(path.name for path in folder.glob("rank-*")) for folder in folders] == [["rank-0", "rank-1"]] * 2


def test_an_older_sharedenv_reads_what_does_not_ask_for_it() -> None:
    assert not {"creates", "launcher"} & How().record().keys()
    assert How(creates=("a",), launcher=("nice",)).record()["launcher"] == ("nice",)


def test_an_array_runs_its_cases_on_the_terms_that_it_was_given() -> None:
    terms = Terms(90.0, 3.0, 2, True, "out", 4, True, "/log", ("a",), ("nice", "-n1"), 1, 2)
    how = how_of(terms, jobs=5, stage=True, verbosity=1)
    assert how.terms == terms and (how.jobs, how.stage, how.verbosity) == (5, True, 1)


def test_a_step_in_a_step_is_doubted(project: Project) -> None:
    project.script("s.py", body=BODY)
    program(project, "srun", '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done; exec "$@"\n')
    env = {"SLURM_STEP_ID": "0", "PATH": f"{project.path}:{project.env['PATH']}"}
    assert "srun waits for the CPUs of the step" in project.call("run", "s.py", "--launcher", "srun --exact", env=env).stderr
    assert "srun waits" not in project.call("run", "s.py", "--launcher", "srun --exact --overlap", env=env).stderr
