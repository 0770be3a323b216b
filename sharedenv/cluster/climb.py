"""A rung's first task takes over what the rungs below have lost, once, and makes it the list of them all."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from sharedenv.cluster.arrays import Array, list_arrays, open_array
from sharedenv.cluster.rising import Evidence, rising
from sharedenv.cluster.rungs import MEMORY, REST, TAKEN, TIME, Taken
from sharedenv.cluster.slurm import SlurmTask
from sharedenv.cluster.status import ask, retried
from sharedenv.pool.files import make_folders
from sharedenv.pool.layout import Layout
from sharedenv.pool.lease import try_lease
from sharedenv.run.case import Case
from sharedenv.run.claims.blocks import FOLDERS, STOP
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import close
from sharedenv.run.journal.run import Run, write_to_disk
from sharedenv.run.listing import LIST_FILES, Listing, is_list, write_list

_LOOK = 0.5  # seconds between looks whether another task has taken over
_TRIES, _PAUSE = 5, 5.0  # questions to a Slurm that doesn't answer, and seconds between them


def take_over(layout: Layout, run: Run, array: Array, environ: Mapping[str, str]) -> Array:
    """The array of a rung (number 2 or more) with the cases that it takes over, () where nothing is left for it; those of one run are taken
    over once, and their list is there. Raises SharedenvError, OSError.
    """
    while True:
        found = open_array(run.path, array.number, owned=True)
        if not found.pending and (not found.sequences or is_list(found.path)):
            return found
        with try_lease(layout, f"rung-{run.id}-{array.number}") as holder:
            if holder is None:
                _take(run, found, environ)
        if holder is not None:
            time.sleep(_LOOK)


def _take(run: Run, array: Array, environ: Mapping[str, str]) -> None:
    assert array.rung is not None
    known = {each.number: each for each in list_arrays(run.path)}
    below = [known[number] for number in array.rung.arrays if number < array.number and number in known]
    if array.pending:
        for each in below:
            if is_list(each.path):
                close(each.path)  # who has joined one by hand begins nothing more of it
        stopped = any(DiskFolder(each.path).exists(STOP) for each in (*below, array))
        _write(array, _choose(run, array, below, environ, stopped=stopped))
    taken = open_array(run.path, array.number, owned=True)
    if taken.sequences and not is_list(taken.path):
        _make_list(run, taken, below)


def _choose(run: Run, array: Array, below: Iterable[Array], environ: Mapping[str, str], *, stopped: bool) -> Taken:
    arrays = list_arrays(run.path)
    tasks = _ask(arrays, environ)
    results, sessions = run.read()
    queue = {(task.job, task.index): task for task in tasks if task.index is not None}
    evidence = Evidence(arrays, sessions, run.results_by_writer(), queue)
    found = {} if stopped else rising(evidence, retried(run, arrays))
    chosen = {why: tuple(sorted(one for one, (above, reason) in found.items() if (above.number, reason) == (array.number, why)))
              for why in (MEMORY, TIME, REST)}
    ladder = {sequence for each in below for sequence in each.sequences}
    undone = [one for one in ladder - found.keys() if (result := results.get(one)) is None or not result.succeeded]
    return Taken(chosen[MEMORY], chosen[TIME], chosen[REST], len(undone))


def _ask(arrays: Sequence[Array], environ: Mapping[str, str]) -> Sequence[SlurmTask]:
    """What Slurm says of all tasks; after some tries nothing, and what they have noted must do."""
    for _ in range(_TRIES):
        tasks, _trouble = ask(arrays, environ)
        if tasks is not None:
            return tasks
        time.sleep(_PAUSE)
    return ()


def _write(array: Array, taken: Taken) -> None:
    """Puts down what is taken, for good: of two who decide at once, the first."""
    name = os.path.join(array.path, f".{TAKEN}-{os.urandom(4).hex()}")
    write_to_disk(name, [json.dumps(asdict(taken)).encode()])
    try:
        os.link(name, os.path.join(array.path, TAKEN))
    except FileExistsError:
        pass
    finally:
        os.unlink(name)


def _make_list(run: Run, array: Array, below: Iterable[Array]) -> None:
    """Makes the list of an array. It is one once its last file is there."""
    staging = os.path.join(array.path, f".list-{os.urandom(4).hex()}")
    make_folders(staging)
    cases = _cases(run, below)
    write_list(staging, run, [cases[sequence] for sequence in array.sequences], {})
    for name in (*FOLDERS, *LIST_FILES):
        os.rename(os.path.join(staging, name), os.path.join(array.path, name))
    shutil.rmtree(staging)


def _cases(run: Run, arrays: Iterable[Array]) -> dict[int, Case]:
    """The cases of arrays as their lists have them, which may be newer than the run's plan."""
    found: dict[int, Case] = {}
    for array in arrays:
        if is_list(array.path):
            listing = Listing(run, array.path, len(array.sequences))
            found.update((case.sequence, case) for case in map(listing.case, range(listing.count)))
            listing.close()
    return found
