"""How many tasks an array gets. Pure."""

from __future__ import annotations

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.values import frozen

#: cases to a task that make it worth its start, and tasks that are few whatever they hold: what computing centres ask
PACK = 20


@frozen
class Limits:
    """What the cluster allows: ``slots`` tasks at once (None: unknown), ``array`` tasks to an array; ``source`` of that, in words."""

    slots: int | None
    array: int
    source: str = ""


@frozen
class Packing:
    """What the user asks; at most one is set."""

    tasks: int | None = None
    per_task: int | None = None


def count_tasks(cases: int, width: int, packing: Packing, limits: Limits) -> int:
    """The number of tasks for ``cases`` cases (at least one) that run ``width`` at a time within a task.

    Unless asked otherwise: as many tasks as the cluster can run at once, but no more than one for every 20 cases that
    run side by side in it, where that is more than 20. Raises SharedenvError when the cluster takes fewer than asked.
    """
    if packing.tasks is not None:
        asked = packing.tasks
    elif packing.per_task is not None:
        asked = _share(cases, packing.per_task)
    else:
        few = max(PACK, _share(cases, PACK * width))
        return max(1, min(_share(cases, width), few, limits.slots or few, limits.array))
    if (tasks := min(asked, cases)) > limits.array:
        raise SharedenvError(
            f"{tasks:,} tasks are more than this cluster takes in one array: {limits.array:,}",
            cause=limits.source or f"MaxArraySize in `scontrol show config` is {limits.array + 1}",
            hint=f"sharedenv submit --per-task {_share(cases, limits.array)} …",
            exit_code=EXIT_USAGE,
        )
    return tasks


def _share(number: int, size: int) -> int:
    return -(-number // size)
