"""Which CPUs go to which case: whole cores, so that no two cases share one. Pure, but for a look at the kernel's topology."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

from sharedenv.values import frozen

TOPOLOGY = "/sys/devices/system/cpu"


@frozen
class Core:
    """A core: its package (socket), and those of its hardware threads that may be used, as the kernel numbers CPUs."""

    package: int
    cpus: tuple[int, ...]


def cores_of(cpus: Collection[int], topology: str = TOPOLOGY) -> list[Core]:
    """The cores that these CPUs are on, neighbours side by side. Where the kernel doesn't say (``topology``), each CPU is one."""
    found: dict[int, Core] = {}
    for cpu in sorted(cpus):
        folder = os.path.join(topology, f"cpu{cpu}", "topology")
        siblings = {cpu, *cpu_list(_read(os.path.join(folder, "thread_siblings_list")))}
        package = _read(os.path.join(folder, "physical_package_id"))
        first = min(siblings)
        known = found.get(first, Core(int(package) if package.isdigit() else 0, ()))
        found[first] = Core(known.package, (*known.cpus, cpu))
    return [core for _, core in sorted(found.items(), key=lambda each: (each[1].package, each[0]))]


def share_out(cores: Sequence[Core], cpus: int) -> list[tuple[Core, ...]]:
    """As many sets of cores as there are, each with ``cpus`` CPUs at least and no core too many; within a package as far as it goes."""
    found: list[tuple[Core, ...]] = []
    left: list[Core] = []
    for package in dict.fromkeys(core.package for core in cores):
        sets, over = _fill([core for core in cores if core.package == package], cpus)
        found += sets
        left += over
    return found + _fill(left, cpus)[0]


def cpus_in(cores: Iterable[Core]) -> tuple[int, ...]:
    """The CPUs of some cores, in order."""
    return tuple(sorted(cpu for core in cores for cpu in core.cpus))


def cpu_list(text: str) -> list[int]:
    """The CPUs of a list as the kernel writes it, such as `0-3,8`."""
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def listed(cpus: Iterable[int]) -> str:
    """CPUs as the kernel writes them, such as `0-3,8`."""
    spans: list[list[int]] = []
    for cpu in sorted(cpus):
        if spans and spans[-1][1] == cpu - 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)


def _fill(cores: Iterable[Core], cpus: int) -> tuple[list[tuple[Core, ...]], list[Core]]:
    """Sets of cores, one after the other, and those that are too few for one more."""
    found: list[tuple[Core, ...]] = []
    some: list[Core] = []
    for core in cores:
        some.append(core)
        if sum(len(each.cpus) for each in some) >= cpus:
            found.append(tuple(some))
            some = []
    return found, some


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
