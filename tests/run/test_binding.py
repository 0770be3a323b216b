"""How CPUs and devices are shared out: pure, over whatever machine there may be."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.run.binding import Core, cores_of, cpu_list, cpus_in, listed, share_out
from sharedenv.run.devices import Devices, devices_of, lasting_names
from sharedenv.run.filling import escaped, filled, has_placeholder
from sharedenv.run.node import Node, beside


@st.composite
def machines(draw: st.DrawFn) -> list[Core]:
    """Cores of one to three packages, with one, two or four threads each, as often of several kinds."""
    cores, cpu = [], 0
    for package in range(draw(st.integers(1, 3))):
        for threads in draw(st.lists(st.sampled_from([1, 2, 2, 4]), max_size=9)):
            cores.append(Core(package, tuple(range(cpu, cpu + threads))))
            cpu += threads
    return cores


@given(machines(), st.integers(1, 12))
def test_no_core_is_in_two_sets_and_no_set_is_too_small_or_has_a_core_too_many(cores: list[Core], cpus: int) -> None:
    sets = share_out(cores, cpus)
    given_out = [core for each in sets for core in each]
    assert len(given_out) == len(set(given_out)) and set(given_out) <= set(cores)
    for each in sets:
        assert len(cpus_in(each)) >= cpus > len(cpus_in(each[:-1]))
    assert len(cpus_in(core for core in cores if core not in given_out)) < cpus, "there is enough for another"


@given(st.integers(1, 4), st.integers(1, 16), st.integers(1, 16))
def test_a_package_is_left_only_for_what_is_over(packages: int, cores: int, each: int) -> None:
    machine = [Core(package, (package * cores + core,)) for package in range(packages) for core in range(cores)]
    within = [one for one in share_out(machine, each) if len({core.package for core in one}) == 1]
    assert len(within) >= packages * (cores // each)


def topology(folder: Path, cores: list[list[int]], packages: int = 1) -> str:
    """The kernel's folder of a machine with these hardware threads on its cores."""
    for number, threads in enumerate(cores):
        for cpu in threads:
            place = folder / f"cpu{cpu}/topology"
            place.mkdir(parents=True)
            (place / "thread_siblings_list").write_text(",".join(map(str, threads)) + "\n")
            (place / "physical_package_id").write_text(f"{number * packages // len(cores)}\n")
    return str(folder)


def test_hyper_threads_of_a_core_go_to_one_case(tmp_path: Path) -> None:
    machine = topology(tmp_path, [[core, core + 8] for core in range(8)], packages=2)  # as most are numbered
    sets = [cpus_in(each) for each in share_out(cores_of(range(16), machine), 1)]
    assert sets == [(core, core + 8) for core in range(8)]
    assert [cpus_in(each) for each in share_out(cores_of(range(16), machine), 3)][:2] == [(0, 1, 8, 9), (2, 3, 10, 11)]


def test_only_what_the_process_may_use_is_given_out(tmp_path: Path) -> None:
    machine = topology(tmp_path, [[0, 1], [2, 3], [4, 5]])
    cores = cores_of({1, 2, 3, 5}, machine)  # half of two cores: whose other half is somebody else's
    assert [core.cpus for core in cores] == [(1,), (2, 3), (5,)]
    assert [cpus_in(each) for each in share_out(cores, 2)] == [(1, 2, 3)], "5 alone is too little"


def test_a_kernel_that_does_not_say_has_a_core_for_each_cpu(tmp_path: Path) -> None:
    assert [core.cpus for core in cores_of({0, 7}, str(tmp_path))] == [(0,), (7,)]


@given(st.sets(st.integers(0, 300)))
def test_a_list_of_cpus_is_read_as_it_is_written(cpus: set[int]) -> None:
    assert cpu_list(listed(cpus)) == sorted(cpus)


NOTHING = lambda: ""  # noqa: E731 - where there is no nvidia-smi


@given(st.lists(st.text("GPUMIabc0123456789-/.", min_size=1).filter(lambda name: not name.replace("-", "").isdigit()), unique=True, min_size=1), st.integers(1, 4))
def test_each_device_is_shown_to_one_case_as_it_was_named(names: list[str], each: int) -> None:
    devices = devices_of({"CUDA_VISIBLE_DEVICES": ",".join(names), "ZE_AFFINITY_MASK": "0"}, NOTHING, amd=False)
    shown = [devices.variables(range(n, n + each))["CUDA_VISIBLE_DEVICES"].split(",") for n in range(0, len(names) - each + 1, each)]
    assert [name for some in shown for name in some] == names[: len(names) // each * each]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0,1", ("0", "1")), (" 3 , 1", ("3", "1")), ("", ()), ("-1", ()), ("NoDevFiles", ()), ("0,-1,2", ("0",)), ("1,1", ("1",)), ("0-2,5", ("0", "1", "2", "5")),
        ("GPU-1-2,MIG-GPU-a/1/0", ("GPU-1-2", "MIG-GPU-a/1/0")),
    ],
)  # fmt: skip
def test_what_lists_mean(text: str, names: tuple[str, ...]) -> None:
    assert devices_of({"CUDA_VISIBLE_DEVICES": text}, NOTHING, amd=False).names == names


def test_amds_runtime_numbers_within_what_rocr_shows() -> None:
    """Slurm sets both: with ROCR_VISIBLE_DEVICES=2, the one device that is left is HIP's 0."""
    environ = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "ROCR_VISIBLE_DEVICES": "0,1,2,3", "HIP_VISIBLE_DEVICES": "0,1,2,3"}
    shown = devices_of(environ, NOTHING, amd=True).variables([2])
    assert shown == {"ROCR_VISIBLE_DEVICES": "2", "CUDA_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "0"}
    assert devices_of(environ, NOTHING, amd=False).variables([2])["CUDA_VISIBLE_DEVICES"] == "2"
    assert devices_of({"SLURM_JOB_GPUS": "0,1"}, NOTHING, amd=True).variables([1]) == {"ROCR_VISIBLE_DEVICES": "1"}


def test_a_variable_of_no_device_does_not_decide_where_another_has_some() -> None:
    assert devices_of({"CUDA_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": "0,1"}, NOTHING, amd=False).names == ("0", "1")


def test_devices_that_all_call_0_are_told_apart() -> None:
    """As Slurm shows each task, or each step, its own ones."""
    zero = Devices(("0",), {"CUDA_VISIBLE_DEVICES": ("0",)})
    by_slurm = [lasting_names(zero, {"SLURM_STEP_GPUS": number}, NOTHING) for number in "57"]
    by_task = [lasting_names(zero, {"SLURM_GPUS_PER_TASK": "1", "SLURM_STEP_ID": "0", "SLURM_LOCALID": number, "SLURM_STEP_GPUS": "0,1"}, NOTHING) for number in "01"]
    by_uuid = [lasting_names(zero, {}, lambda uuid=uuid: f"GPU 0: A100 (UUID: GPU-{uuid})\n") for uuid in "ab"]  # type: ignore[misc]  # mypy infers no lambda with a default
    for one, other in (by_slurm, by_task, by_uuid):
        assert one != other
    assert lasting_names(zero, {}, NOTHING) == ("0",)


@pytest.mark.parametrize(("text", "expected"), [("", 1), ("1", 1), ("4(x1),2", 4), ("2(x12)", 2), ("2,6(x3)", 6)])
def test_tasks_beside_this_one(text: str, expected: int) -> None:
    assert beside({"SLURM_STEP_TASKS_PER_NODE": text} if text else {}) == expected


@given(st.text("ab{}/"))
def test_an_escaped_text_means_itself(text: str) -> None:
    assert filled(escaped(text), {"number": "1", "slot": "2"}) == text and not has_placeholder(escaped(text))


@pytest.mark.parametrize("text", ["a{b", "a}b", "{x}", "{}", "/data/{old}/{"])
def test_what_a_run_of_before_has_stands_as_it_is(text: str) -> None:
    assert filled(text, {"number": "1", "slot": "2"}) == text and not has_placeholder(text)


#: takes numbers and gives them back, as many processes at once do; says which it had at what time
TAKER = """
import os, sys, time
from sharedenv.run.node import Node
node = Node("job", sys.argv[1])
for _ in range(30):
    with node.turn():
        number, descriptor = node.hold_number("slot")
    begun = time.monotonic()
    time.sleep(0.002)
    print(number, begun, time.monotonic())
    os.close(descriptor)
    node.sweep()
"""


def test_no_two_processes_have_one_number_however_often_the_folder_is_swept_away(tmp_path: Path) -> None:
    takers = [subprocess.Popen([sys.executable, "-c", TAKER, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    spans: dict[str, list[tuple[float, float]]] = {}
    for taker in takers:
        for line in taker.communicate(timeout=60)[0].splitlines():
            number, begun, ended = line.split()
            spans.setdefault(number, []).append((float(begun), float(ended)))
        assert taker.returncode == 0
    assert set(spans) <= set("1234") and sum(map(len, spans.values())) == 120
    for times in spans.values():
        times.sort()
        assert all(ended <= begun for (_, ended), (begun, _) in zip(times, times[1:], strict=False))
    assert os.listdir(tmp_path) == []


def test_who_waited_for_a_folder_that_is_gone_waits_for_the_new_one(tmp_path: Path) -> None:
    node = Node("job", str(tmp_path))
    folder = tmp_path / f"sharedenv-{os.getuid()}/job"
    before = os.open(folder, os.O_RDONLY)
    fcntl.flock(before, fcntl.LOCK_EX)
    told, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        with node.turn():
            told.set()
            go_on.wait(30)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not told.wait(0.2), "it is another's turn"
    shutil.rmtree(folder)
    folder.mkdir(0o700)
    os.close(before)
    assert told.wait(30)
    now = os.open(folder, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(now, fcntl.LOCK_EX | fcntl.LOCK_NB)
    go_on.set()
    waiting.join()
    os.close(now)
