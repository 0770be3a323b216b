"""What each case gets for itself with --gpus-per-case and --cpus-per-case: its part of what the job has on this node.

All of a worker's places are taken before its first case: how many cases it runs at a time follows from them.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence

from sharedenv.errors import SharedenvError
from sharedenv.process import capture
from sharedenv.run.binding import Core, cores_of, cpus_in, listed, share_out
from sharedenv.run.devices import Devices, amd_here, bound_to_tasks, devices_of, lasting_names
from sharedenv.run.node import Node, beside, node_of
from sharedenv.run.place import Place
from sharedenv.run.places import make_place
from sharedenv.run.terms import Needs, Resources, counted
from sharedenv.values import frozen


@frozen
class _Stock:
    """What there is on this node to be shared out: devices and the names to hold them by, cores, None where nothing was asked of it."""

    devices: Devices | None
    names: tuple[str, ...]
    cores: tuple[Core, ...] | None


def shared_places(worker: Resources, needs: Needs) -> tuple[Node, tuple[Place, ...]]:
    """Takes places for a worker, of what others on this node have left. Raises SharedenvError where that is not enough."""
    stock = _stock(needs, worker.variables)
    jobs = _jobs(worker, needs, stock)
    try:
        node = node_of(worker.variables)
        with node.turn():
            return node, _made(worker, needs, stock, jobs, node)
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        raise SharedenvError(f"can't share out {needs} each on this node", cause=cause, hint="ls -ld /dev/shm /dev/shm/*") from None


def planned_places(worker: Resources, needs: Needs) -> tuple[Place, ...]:
    """The places that a worker would take if nobody else had any. Raises SharedenvError as shared_places does."""
    stock = _stock(needs, worker.variables)
    return _made(worker, needs, stock, _jobs(worker, needs, stock), None)


def _stock(needs: Needs, environ: Mapping[str, str]) -> _Stock:
    @functools.cache
    def nvidia() -> str:
        program = shutil.which("nvidia-smi", path=environ.get("PATH"))
        try:
            return capture([program, "-L"], env=environ, timeout=60).stdout if program else ""
        except OSError:
            return ""

    devices: Devices | None = None
    names: tuple[str, ...] = ()
    cores: tuple[Core, ...] | None = None
    if needs.gpus is not None:
        devices = devices_of(environ, nvidia, amd=amd_here())
        names = lasting_names(devices, environ, nvidia)
        if len(devices.names) < needs.gpus:
            hint = f"--gpus-per-case {len(devices.names)}" if devices.names else "export CUDA_VISIBLE_DEVICES=0,1, where you know better"
            raise SharedenvError(f"can't give each script {needs}", cause=_devices_here(devices), hint=hint)
    if needs.cpus is not None:
        if not hasattr(os, "sched_setaffinity"):
            raise SharedenvError("can't bind scripts to CPUs", cause="only Linux does", hint=f"--threads {needs.cpus}")
        cores = tuple(cores_of(os.sched_getaffinity(0)))
        if len(cpus_in(cores)) < needs.cpus:
            raise SharedenvError(f"can't give each script {needs}", cause=_cpus_here(cores), hint=f"--cpus-per-case {len(cpus_in(cores))}")
    return _Stock(devices, names, cores)


def _jobs(worker: Resources, needs: Needs, stock: _Stock) -> int:
    """How many places a worker is to take. Raises SharedenvError where the user asked for more than there can be."""
    room, ours = [], []
    if stock.devices is not None:
        whole = len(stock.devices.names) // (needs.gpus or 1)
        among = 1 if bound_to_tasks(worker.variables) else beside(worker.variables)
        which = worker.variables.get("SLURM_LOCALID", "0")
        room.append(whole)
        ours.append(len(range(int(which) if which.isdigit() else 0, whole, among)))
    if stock.cores is not None:
        sets = share_out(stock.cores, needs.cpus or 1)
        room.append(len(sets))
        used = 0
        ours.append(0)
        for one in sets:
            used += len(cpus_in(one))
            ours[-1] += used <= worker.cpus
        if worker.jobs is None and worker.cpus < (needs.cpus or 1):
            cause = f"this worker's part of the job is {counted(worker.cpus, 'CPU')}"
            raise SharedenvError(f"can't give each script {needs}", cause=cause, hint=f"--cpus-per-case {worker.cpus}")
    if worker.jobs is None:
        return max(1, min(ours))
    if worker.jobs > min(room):
        raise SharedenvError(
            f"can't run {worker.jobs} scripts at a time with {needs} each", cause=_all_here(stock), hint=f"-j {min(room)}"
        )
    return worker.jobs


class _Hand:
    """What a worker holds while it chooses; without a node everything is free."""

    def __init__(self, node: Node | None) -> None:
        self._node = node
        self._held: dict[str, int] = {}

    def take(self, name: str) -> bool:
        """Whether it could be had."""
        if self._node is None:
            return True
        if (descriptor := self._node.hold(name)) is None:
            return False
        self._held[name] = descriptor
        return True

    def slot(self, otherwise: int) -> tuple[int, tuple[int, ...]]:
        """A slot, and what holds it."""
        if self._node is None:
            return otherwise, ()
        slot, descriptor = self._node.hold_number("slot")
        return slot, (descriptor,)

    def keep(self, names: Iterable[str]) -> tuple[int, ...]:
        """What holds these, for good."""
        return tuple(self._held.pop(name) for name in names if name in self._held)

    def let_go(self) -> None:
        """Of what is not kept."""
        for descriptor in self._held.values():
            os.close(descriptor)


def _made(worker: Resources, needs: Needs, stock: _Stock, jobs: int, node: Node | None) -> tuple[Place, ...]:
    """So many places, or as many as something is left for; in one's turn, where there is a node. Raises SharedenvError, OSError."""
    hand = _Hand(node)
    gpus = needs.gpus or 0
    try:
        free = [position for position, name in enumerate(stock.names) if hand.take(_device_file(name))]
        cores = [core for core in stock.cores or () if hand.take(_core_file(core))]
        sets = share_out(cores, needs.cpus) if needs.cpus else [()] * jobs
        count = min(jobs, len(sets), len(free) // gpus if gpus else jobs)
        if count < (worker.jobs or 1):
            raise _held_by_others(worker, needs, stock, free, cores, count)
        made = []
        for number, own in enumerate(sets[:count]):
            devices = free[number * gpus : (number + 1) * gpus]
            variables = stock.devices.variables(devices) if stock.devices else {}
            slot, descriptors = hand.slot(number + 1)
            descriptors += hand.keep([*(_device_file(stock.names[position]) for position in devices), *map(_core_file, own)])
            gpus_seen = tuple([stock.devices.names[position] for position in devices]) if stock.devices else ()
            made.append(make_place(slot, variables, cpus_in(own), descriptors, gpus_seen))
        return tuple(made)
    finally:
        hand.let_go()


def _device_file(name: str) -> str:
    return "gpu-" + re.sub(r"[^\w.-]", "_", name)


def _core_file(core: Core) -> str:
    return f"cpu-{core.cpus[0]}"


def _held_by_others(
    worker: Resources, needs: Needs, stock: _Stock, positions: Sequence[int], cores: Sequence[Core], count: int
) -> SharedenvError:
    free = []
    if stock.devices is not None:
        free.append(counted(len(positions), "GPU"))
    if stock.cores is not None:
        free.append(counted(len(cpus_in(cores)), "CPU"))
    asked = f"run {worker.jobs} scripts at a time with {needs} each" if worker.jobs else f"give a script {needs}"
    cause = f"{_all_here(stock)}; free: {' and '.join(free)}. Other workers have the rest, or scripts that outlived theirs"
    return SharedenvError(f"can't {asked}", cause=cause, hint=f"-j {count}" if count else "sharedenv status --all")


def _all_here(stock: _Stock) -> str:
    said = ([_devices_here(stock.devices)] if stock.devices else []) + ([_cpus_here(stock.cores)] if stock.cores else [])
    return "; ".join(said)


def _devices_here(devices: Devices) -> str:
    if not devices.names and devices.where.startswith("nvidia-smi"):
        return "no GPU was given: no variable names one, and nvidia-smi lists none"
    return f"{counted(len(devices.names), 'GPU')} here ({devices.where})"


def _cpus_here(cores: Sequence[Core]) -> str:
    cpus = cpus_in(cores)
    on = "" if len(cores) == len(cpus) else f" on {counted(len(cores), 'core')}"
    return f"this process may use {counted(len(cpus), 'CPU')}{on} ({listed(cpus)})"
