"""What a case is told of its place, and what it has there for itself: no two at work at once share a slot, a GPU or a core."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.run.test_join import wait_for

#: says what it was told and when it was at work; one write for all
BODY = """
import json, os, random, sys, time
begun = time.monotonic()
time.sleep({seconds})
told = {name: value for name, value in os.environ.items() if name.startswith("SHAREDENV_CASE_") or name.endswith(("_DEVICES", "_MASK", "_THREADS"))}
told.update(cpus=sorted(os.sched_getaffinity(0)), folder=os.getcwd(), pwd=os.environ["PWD"], begun=begun, ended=time.monotonic(), words=sys.argv[1:])
os.write(os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), (json.dumps(told) + "\\n").encode())
"""
NAMES = ("NUMBER", "SLOT", "ATTEMPT", "RUN")
MODES = ((), ("--preload",))
#: a job that its node's other processes are not in
JOB = {"SLURM_JOB_ID": "4711"}


def copies(project: Project, count: int, seconds: str = "0.02", more: str = "") -> None:
    project.copies(count, body=BODY.replace("{seconds}", seconds).replace("{log!r}", repr(str(project.path / "log"))) + more)


def told(project: Project) -> list[dict[str, Any]]:
    """What cases have said since the last look."""
    log = project.path / "log"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def case(told: dict[str, Any], name: str) -> str:
    return str(told[f"SHAREDENV_CASE_{name}"])


#: seconds by which the journal rounds when a case began and how long it took
TICK = 0.002


def journal(project: Project) -> list[dict[str, Any]]:
    """The results that the journals of all runs have, with their times as `told` has them."""
    lines = [json.loads(line) for path in project.pool.glob("runs/*/results*") for line in path.read_text().splitlines()]
    return [
        {**line, "begun": line["start"], "ended": line["start"] + line["seconds"], "slots": [line.get("slot")]}
        for line in lines if "attempt" in line
    ]


def assert_apart(lines: Iterable[dict[str, Any]], name: str, tick: float = 0.0) -> set[str]:
    """That no thing that the variable of this name (or the CPUs) lists was of two cases at once; all things. ``tick``: of their clock."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        each = line[name] if isinstance(line[name], list) else str(line[name]).split(",")
        for thing in each:
            times[str(thing)].append((float(str(line["begun"])), float(str(line["ended"]))))
    for thing, spans in times.items():
        for (_, ended), (begun, _) in itertools.pairwise(sorted(spans)):
            assert ended <= begun + tick, f"{name} {thing} was of two cases at once"
    return set(times)


@pytest.fixture(autouse=True)
def own_node(monkeypatch: pytest.MonkeyPatch, project: Project, tmp_path: Path) -> None:
    """Tests side by side are jobs of their own; nothing on this machine gives them a GPU."""
    project.env["SLURM_JOB_ID"] = f"{os.getpid()}.{tmp_path.name}"
    for name in [name for name in project.env if name.endswith(("_VISIBLE_DEVICES", "_MASK"))]:
        del project.env[name]


@pytest.mark.parametrize("mode", MODES)
def test_a_case_is_told_its_number_slot_attempt_and_run(project: Project, mode: tuple[str, ...]) -> None:
    copies(project, 5, more="if os.environ['SHAREDENV_CASE_NUMBER'] == '3': sys.exit(1)\n")
    done = project.call("run", "-j2", "--retries", "2", *mode, "case*/script.py", status=1)
    lines = told(project)
    [run] = {case(line, "RUN") for line in lines}
    assert (project.pool / "runs" / run).is_dir() and run in done.stderr
    assert {(case(line, "NUMBER"), Path(str(line["folder"])).name) for line in lines} == {(str(n), f"case{n}") for n in range(1, 6)}
    assert sorted(case(line, "ATTEMPT") for line in lines if case(line, "NUMBER") == "3") == ["1", "2"]
    assert {case(line, "ATTEMPT") for line in lines if case(line, "NUMBER") != "3"} == {"1"}
    assert assert_apart(lines, "SHAREDENV_CASE_SLOT") == {"1", "2"}
    project.call("run", "--resume", *mode, "case3/script.py", status=1)
    assert {(case(line, "NUMBER"), case(line, "RUN"), case(line, "SLOT")) for line in told(project)} == {("3", run, "1")}


def test_a_case_of_a_shared_run_is_told_the_same(project: Project) -> None:
    copies(project, 2, more="sys.exit(1)\n")
    run = project.call("plan", "--retries", "2", "case*/script.py").stdout.strip()
    project.call("join", "-j2", run, status=1)
    assert sorted((case(line, "NUMBER"), case(line, "ATTEMPT"), case(line, "RUN")) for line in told(project)) == [
        (number, attempt, run) for number in "12" for attempt in "12"
    ]


def test_a_nested_exec_in_a_case_keeps_its_fast_way(project: Project) -> None:
    project.copies(2, body="print('inner')")
    project.call("build", "case*/script.py")
    body = f"import os, subprocess, sys\nprint(subprocess.run([{sys.executable!r}, '-X', 'importtime', '-m', 'sharedenv', 'exec', '../case1/script.py'], capture_output=True, text=True, env={{**os.environ, 'PYTHONPATH': os.environ['OURS']}}))"
    project.script("outer/script.py", [], body)
    said = project.call("run", "outer/script.py", env={"OURS": str(Path(__file__).parent.parent.parent)}).stdout
    assert "inner" in said and "sharedenv.start.access" in said and "click" not in said


@pytest.mark.parametrize("mode", MODES)
def test_number_and_slot_stand_in_the_names_of_folders_and_files(project: Project, mode: tuple[str, ...]) -> None:
    copies(project, 4, more="print(os.environ['SHAREDENV_CASE_NUMBER'])\n")
    (project.path / "{a}").mkdir()
    project.call("run", "-j2", *mode, "--cwd", "{{a}}/w{slot}/{number}", "--capture", "out-{number}.{slot}{{}}", "case*/script.py")
    for line in told(project):
        folder = project.path / "{a}" / f"w{case(line, 'SLOT')}" / case(line, "NUMBER")
        assert line["folder"] == line["pwd"] == str(folder)
        assert (folder / f"out-{case(line, 'NUMBER')}.{case(line, 'SLOT')}{{}}").read_text() == case(line, "NUMBER") + "\n"
    project.call("run", *mode, "--capture", "logs/{slot}/out", "case*/script.py")
    assert (project.path / "case1/logs/1/out").exists()
    # a run that goes on knows what stands where, and adds to it
    (project.path / "late").mkdir()
    told(project)
    project.call("run", "--cwd", "late/{number}", "case1/script.py")
    project.call("run", "--resume", "--run-id", case(told(project)[0], "RUN"), "case1/script.py", "case2/script.py")
    assert sorted(os.listdir(project.path / "late")) == ["1", "2"]


def test_a_project_whose_own_path_has_braces(project: Project) -> None:
    folder = project.path / "{number}{x"
    folder.mkdir()
    copies(project, 1)
    project.call("init")
    project.call("run", "--cwd", ".", "../case1/script.py", cwd=folder)
    project.call("run", "--cwd", "in/{number}", "../case1/script.py", cwd=folder, status=2)
    (folder / "in").mkdir()
    project.call("run", "--cwd", "in/{number}", "../case1/script.py", cwd=folder)
    assert [line["folder"] for line in told(project)] == [str(folder), str(folder / "in/1")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cwd", "x/{slut}"), "nothing stands for {slut}"),
        (("--capture", "{"), "a single {"),
        (("--capture", "a}.txt"), "a single }"),
        (("--cwd", "nowhere/{slot}"), "nowhere is no folder"),
        (("--cwd", ".", "--capture", "out-{slot}"), "would be written by several scripts"),
        (("--gpus-per-case", "3"), "can't give each script 3 GPUs"),
        (("--gpus-per-case", "2", "-j", "2"), "can't run 2 scripts at a time with 2 GPUs each"),
        (("--cpus-per-case", "1000"), "can't give each script 1000 CPUs"),
        (("--cpus-per-case", "1", "-j", "1000"), "can't run 1000 scripts at a time with 1 CPU each"),
        (("--gpus-per-case", "1", "--cpus-per-case", "1000"), "1 GPU and 1000 CPUs"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_begun(project: Project, options: tuple[str, ...], said: str) -> None:
    copies(project, 2)
    for command in (("run",), ("run", "--dry-run")):
        done = project.call(*command, *options, "case*/script.py", env={"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, status=2)
        assert said in done.stderr and "hint:" in done.stderr and "Traceback" not in done.stderr
    assert not told(project) and not list(project.pool.glob("runs/2*"))


def test_numbers_of_what_there_is_are_told(project: Project) -> None:
    copies(project, 1)
    done = project.call("run", "--gpus-per-case", "4", "case1/script.py", env={"ROCR_VISIBLE_DEVICES": "0,1,5"}, status=2)
    assert "3 GPUs here (ROCR_VISIBLE_DEVICES=0,1,5)" in done.stderr and "hint: --gpus-per-case 3" in done.stderr
    done = project.call("run", "--gpus-per-case", "1", "case1/script.py", env={"CUDA_VISIBLE_DEVICES": ""}, status=2)
    assert "0 GPUs here (CUDA_VISIBLE_DEVICES=)" in done.stderr


@pytest.mark.parametrize("mode", MODES)
def test_200_cases_of_random_length_on_4_devices(project: Project, mode: tuple[str, ...]) -> None:
    copies(project, 200, "random.random() * 0.02")
    devices = ["2", "GPU-8932f937-d72c", "MIG-GPU-8932f937-d72c/1/0", "MIG-41b3"]
    project.call("run", "--gpus-per-case", "1", *mode, "case*/script.py", env={"CUDA_VISIBLE_DEVICES": ",".join(devices)})
    lines = told(project)
    assert len(lines) == 200
    assert assert_apart(lines, "CUDA_VISIBLE_DEVICES") == set(devices)
    assert assert_apart(lines, "SHAREDENV_CASE_SLOT") == set("1234")
    assert len({(line["CUDA_VISIBLE_DEVICES"], case(line, "SLOT")) for line in lines}) == 4
    noted = journal(project)
    assert len(noted) == 200
    assert assert_apart(noted, "gpus", TICK) == set(devices)
    assert assert_apart(noted, "slots", TICK) == set("1234")
    seen = {int(case(line, "NUMBER")): (case(line, "SLOT"), line["CUDA_VISIBLE_DEVICES"]) for line in lines}
    assert {line["sequence"]: (str(line["slot"]), *line["gpus"]) for line in noted} == seen


@pytest.mark.parametrize(
    ("variables", "name", "expected"),
    [
        ({"ROCR_VISIBLE_DEVICES": "0,1,2,3"}, "ROCR_VISIBLE_DEVICES", {"0,1", "2,3"}),
        ({"ZE_AFFINITY_MASK": "0.0,0.1,1.0"}, "ZE_AFFINITY_MASK", {"0.0,0.1"}),
        ({"SLURM_JOB_GPUS": "1,3-4"}, "CUDA_VISIBLE_DEVICES", {"1,3"}),
    ],
)
def test_devices_of_other_makers_and_of_slurm(project: Project, variables: dict[str, str], name: str, expected: set[str]) -> None:
    copies(project, 4)
    project.call("run", "--gpus-per-case", "2", "case*/script.py", env=variables)
    assert {str(line[name]) for line in told(project)} == expected


def test_what_nvidia_smi_lists_where_no_variable_says(project: Project) -> None:
    copies(project, 4)
    (project.path.parent / "nvidia").mkdir()
    program = project.path.parent / "nvidia/nvidia-smi"
    program.write_text("#!/bin/sh\n[ \"$1\" = -L ] && cat <<'END'\n"
                       "GPU 0: NVIDIA A100 (UUID: GPU-aa)\nGPU 1: NVIDIA A100 (UUID: GPU-bb)\n"
                       "  MIG 3g.20gb     Device  0: (UUID: MIG-cc)\n  MIG 3g.20gb     Device  1: (UUID: MIG-dd)\nEND\n")
    program.chmod(0o755)
    project.call("run", "--gpus-per-case", "1", "case*/script.py", env={"PATH": f"{program.parent}:{project.env['PATH']}"})
    lines = told(project)
    assert assert_apart(lines, "CUDA_VISIBLE_DEVICES") <= {"GPU-aa", "MIG-cc", "MIG-dd"}


@pytest.mark.parametrize("mode", MODES)
def test_each_case_has_its_own_cpus_and_as_many_threads(project: Project, mode: tuple[str, ...]) -> None:
    here = sorted(os.sched_getaffinity(0))
    copies(project, 8)
    project.call("run", "--cpus-per-case", "1", *mode, "case*/script.py")
    lines = told(project)
    assert assert_apart(lines, "cpus") <= set(map(str, here))
    assert {line["OMP_NUM_THREADS"] for line in lines} == {line["OPENBLAS_NUM_THREADS"] for line in lines} == {"1"}
    project.call("run", "--cpus-per-case", str(len(here)), "--threads", "7", *mode, "case*/script.py")
    assert {(tuple(line["cpus"]), line["OMP_NUM_THREADS"]) for line in told(project)} == {(tuple(here), "7")}
    assert_apart(lines, "cpus")


def test_it_stays_within_what_the_process_may_use(project: Project) -> None:
    last = max(os.sched_getaffinity(0))
    copies(project, 3)
    project.call("run", "--cpus-per-case", "1", "case*/script.py", preexec_fn=lambda: os.sched_setaffinity(0, {last}))
    lines = told(project)
    assert {tuple(line["cpus"]) for line in lines} == {(last,)}
    assert assert_apart(lines, "SHAREDENV_CASE_SLOT") == {"1"}


def test_dry_run_prints_variables_and_binding(project: Project) -> None:
    copies(project, 2)
    project.call("build", "case*/script.py")
    words = ("run", "--gpus-per-case", "1", "--cpus-per-case", "1", "-j1", "--dry-run", "--cwd", "w{number}", "case*/script.py")
    done = project.call(*words, env={"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"})
    assert re.search(r"slot 1: CUDA_VISIBLE_DEVICES=GPU-a, CPUs \d+$", done.stderr, re.MULTILINE) and "slot 2" not in done.stderr
    assert "OMP_NUM_THREADS and its kin: 1" in done.stderr
    assert f"cd {project.path}/w2 && SHAREDENV_CASE_NUMBER=2 " in done.stdout
    assert not (project.path / "w2").exists()


def test_options_of_what_goes_on(project: Project) -> None:
    """--resume has those of the run; and what `plan` was given, each worker does."""
    copies(project, 3, more="sys.exit(not os.path.exists('../go'))\n")
    env = {"CUDA_VISIBLE_DEVICES": "a,b,c"}
    project.call("run", "--gpus-per-case", "1", "--cpus-per-case", "1", "case*/script.py", status=1, env=env)
    run = project.call("plan", "--gpus-per-case", "1", "case*/script.py").stdout.strip()
    told(project)
    project.call("join", run, status=1, env=env)
    assert {str(line["CUDA_VISIBLE_DEVICES"]) for line in told(project)} <= set("abc")
    (project.path / "go").touch()
    project.call("run", "--resume", "--run-id", run, env=env)
    assert {str(line["CUDA_VISIBLE_DEVICES"]) for line in told(project)} <= set("abc")


# --- several workers on a node ---------------------------------------------------------------------------------------------------


def shared(project: Project) -> list[str]:
    """What is held on this node for the job of a test."""
    folder = Path(f"/dev/shm/sharedenv-{os.getuid()}") / project.env["SLURM_JOB_ID"].replace("-", "_")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_4_workers_of_a_job_share_slots_and_devices(project: Project) -> None:
    """As `srun -n4` makes four."""
    copies(project, 60, "random.random() * 0.1")
    run = project.call("plan", "--gpus-per-case", "1", "case*/script.py").stdout.strip()
    step = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "4(x1)", "SLURM_STEP_NUM_TASKS": "4"}
    workers = [project.start("join", run, env={**step, "SLURM_LOCALID": str(n), "SLURM_PROCID": str(n)}) for n in range(4)]
    assert [worker.wait(120) for worker in workers] == [0] * 4
    lines = told(project)
    assert len(lines) == 60
    assert assert_apart(lines, "SHAREDENV_CASE_SLOT") <= set("1234")
    assert assert_apart(lines, "CUDA_VISIBLE_DEVICES") <= set("0123")
    assert not shared(project), "nothing is left behind"


def test_4_workers_without_options_have_other_slots_each(project: Project) -> None:
    copies(project, 40, "0.1")
    run = project.call("plan", "case*/script.py").stdout.strip()
    workers = [project.start("join", "-j2", run) for _ in range(4)]
    assert [worker.wait(120) for worker in workers] == [0] * 4
    lines = told(project)
    assert assert_apart(lines, "SHAREDENV_CASE_SLOT") <= set("12345678")
    assert not shared(project)


def test_a_batch_by_itself_makes_no_file(project: Project) -> None:
    copies(project, 2)
    project.call("run", "case*/script.py")
    assert not shared(project)


def test_a_killed_worker_frees_its_slots_once_its_cases_have_ended(project: Project) -> None:
    copies(project, 1)
    slow = BODY.replace("{seconds}", "30").replace("{log!r}", repr(str(project.path / "log")))
    project.script("slow/script.py", [], f"open('begun', 'w').write(str(__import__('os').getpid()))\n{slow}")
    env = {"CUDA_VISIBLE_DEVICES": "a"}
    worker = project.start("run", "--gpus-per-case", "1", "slow/script.py", env=env)
    wait_for(lambda: (project.path / "slow/begun").exists() and (project.path / "slow/begun").read_text() != "")
    other = project.call("run", "--gpus-per-case", "1", "case1/script.py", env=env, status=2)
    assert "1 GPU here (CUDA_VISIBLE_DEVICES=a); free: 0 GPUs" in other.stderr
    worker.kill()
    worker.wait()
    project.call("run", "--gpus-per-case", "1", "case1/script.py", env=env, status=2)  # what it has left running has it still
    os.kill(int((project.path / "slow/begun").read_text()), signal.SIGKILL)
    wait_for(lambda: project.call("run", "--gpus-per-case", "1", "case1/script.py", env=env, status=None).returncode == 0)
    assert [line["CUDA_VISIBLE_DEVICES"] for line in told(project)] == ["a"]
    assert not shared(project)


def test_workers_inside_of_a_case_share_what_it_has(project: Project) -> None:
    copies(project, 3)
    inner = [sys.executable, "-m", "sharedenv", "run", "--gpus-per-case", "1", "--insist", *(str(project.path / f"case{n}/script.py") for n in (1, 2, 3))]
    body = f"import os, subprocess\nenv = {{**os.environ, 'PYTHONPATH': os.environ['OURS']}}\nsubprocess.run({inner!r}, check=True, env=env)"
    project.script("outer/script.py", [], body)
    ours = str(Path(__file__).parent.parent.parent)
    project.call("run", "--gpus-per-case", "2", "outer/script.py", env={"CUDA_VISIBLE_DEVICES": "a,b,c,d", "OURS": ours})
    assert assert_apart(told(project), "CUDA_VISIBLE_DEVICES") == {"a", "b"}


def test_a_folder_of_somebody_else_is_not_used(project: Project) -> None:
    """In /dev/shm anybody may make a folder of our name."""
    copies(project, 1)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs none /dev/shm && mkdir -m 777 /dev/shm/sharedenv-0 && exec {sys.executable} -m sharedenv run --cpus-per-case 1 case1/script.py"],
        cwd=project.path, env=project.env, capture_output=True, text=True, check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr}")
    assert done.returncode == 2 and "can't share out 1 CPU each on this node" in done.stderr and "others may write" in done.stderr
    assert not told(project)
