"""Which GPUs a job was given, and the variables that show some of them to a case. Pure, but for a call of nvidia-smi.

What a variable says is passed on as it stands: indices, UUIDs, names of MIG instances, tiles of Intel's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

from sharedenv.values import frozen

_CUDA, _ROCR, _ZE = "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"
#: what says which devices a process sees, the first that is set decides; Slurm sets several of them, to the same list
_VARIABLES = (_CUDA, _ROCR, "HIP_VISIBLE_DEVICES", _ZE, "GPU_DEVICE_ORDINAL")
#: those of them that AMD's runtime takes for positions among the devices that ROCR_VISIBLE_DEVICES shows
_WITHIN_ROCR = (_CUDA, "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
_SLURMS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
_NONE = ("", "-1", "NoDevFiles", "none", "void")  #: what ends a list, or stands for none at all
_UUID = re.compile(r"\(UUID: ([^)\s]+)\)")


@frozen
class Devices:
    """The devices of a job on a node.

    names     one each, as the job has it
    shown     variable → what it says of each device, in the order of the names
    within    variables that number the devices that the others show
    where     what says so, for the user
    """

    names: tuple[str, ...]
    shown: Mapping[str, tuple[str, ...]]
    within: tuple[str, ...] = ()
    where: str = ""

    def variables(self, positions: Sequence[int]) -> dict[str, str]:
        """The variables of a process that is to see the devices at these positions alone."""
        found = {variable: ",".join(words[position] for position in positions) for variable, words in self.shown.items()}
        return found | dict.fromkeys(self.within, ",".join(map(str, range(len(positions)))))


def devices_of(environ: Mapping[str, str], listed: Callable[[], str], *, amd: bool) -> Devices:
    """The devices that a job was given, by its variables, else those that nvidia-smi lists. ``listed``: what `nvidia-smi -L` prints,
    "" where there is none; ``amd``: whether AMD's driver is at work here.
    """
    words = {variable: _words(environ[variable]) for variable in _VARIABLES if variable in environ}
    if words:
        leader = _ROCR if amd and _ROCR in words else next((name for name, each in words.items() if each), next(iter(words)))
        names = words[leader]
        within = tuple(variable for variable in _WITHIN_ROCR if variable in words) if leader == _ROCR else ()
        shown = {variable: each for variable, each in words.items() if len(each) == len(names) and variable not in within}
        return Devices(names, shown, within, f"{leader}={environ[leader]}")
    for variable in _SLURMS:
        if environ.get(variable):
            names = _words(environ[variable])
            return Devices(names, {_ROCR if amd else _CUDA: names}, (), f"{variable}={environ[variable]}")
    names = _listed(listed())
    return Devices(names, {_CUDA: names}, (), "nvidia-smi -L")


def lasting_names(devices: Devices, environ: Mapping[str, str], listed: Callable[[], str]) -> tuple[str, ...]:
    """The devices by names that mean the same to all who work in a job on a node: where each sees its own alone, all call it 0."""
    if not all(name.isdigit() for name in devices.names):
        return devices.names
    for variable in _SLURMS:  # the node's own numbers
        if len(words := _words(environ.get(variable, ""))) == len(devices.names):
            return words
    if bound_to_tasks(environ):
        task = f"{environ.get('SLURM_STEP_ID', '')}.{environ.get('SLURM_LOCALID', '')}"
        return tuple(f"{task}.{name}" for name in devices.names)
    uuids = _listed(listed()) if _CUDA in devices.shown else ()
    numbers = [int(name) for name in devices.names]
    return tuple(uuids[number] for number in numbers) if max(numbers, default=0) < len(uuids) else devices.names


def bound_to_tasks(environ: Mapping[str, str]) -> bool:
    """Whether Slurm shows each task of a step devices that no other sees."""
    return bool(environ.get("SLURM_GPUS_PER_TASK")) or environ.get("SLURM_GPU_BIND", "").startswith("per_task")


def _words(text: str) -> tuple[str, ...]:
    """The devices of a list, each once. As CUDA has it, what is no device ends it."""
    found: dict[str, None] = {}
    for word in map(str.strip, text.split(",")):
        if word in _NONE:
            break
        first, _, last = word.partition("-")
        if first.isdigit() and last.isdigit():  # Slurm's lists
            found |= dict.fromkeys(map(str, range(int(first), int(last) + 1)))
        else:
            found[word] = None
    return tuple(found)


def _listed(text: str) -> tuple[str, ...]:
    """The UUIDs that `nvidia-smi -L` prints: of a GPU that is split, those of its MIG instances in its place."""
    found: list[str] = []
    whole = False  # whether the last one is a GPU
    for line in text.splitlines():
        if (match := _UUID.search(line)) is None:
            continue
        if line.startswith("GPU "):
            found.append(match[1])
            whole = True
        else:
            if whole:
                found.pop()
            found.append(match[1])
            whole = False
    return tuple(found)


def amd_here() -> bool:
    """Whether AMD's driver is at work on this machine."""
    return os.path.exists("/dev/kfd")
