"""The arrays of a run on disk: `runs/<run-id>/slurm/<n>/`, one folder a submission.

    array.json    which cases, how many tasks work on them, and how: written once
    plan.jsonl …  the cases as a list that the tasks join (run/listing.py), each with the environment it was planned with
    job.sh        the job script
    job.json      the ids that Slurm gave: written once
    build.list    scripts that the job which builds is given
    again-<w>     what a worker saw end with its task, its successor has taken up (requeued.py)
    <A>_<a>.out   output of each task; build-<j>.out that of the job that built

A task is a worker of the list that writes its results as `worker.<n>.<task>.<some letters>`; started anew for the second time
by Slurm, as `worker.<n>.<task>r2.<others>`. Older versions gave each task a share of its own: see static.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import TYPE_CHECKING, Any

from sharedenv.errors import SharedenvError
from sharedenv.pool.files import make_folders, private, sync_descriptor
from sharedenv.pool.owner import Owner, owner_of, this_process
from sharedenv.run.case import Case, CaseWork
from sharedenv.run.journal.owned import open_file, open_owned
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import WORKER
from sharedenv.run.listing import ARRAYS, write_list
from sharedenv.run.terms import GRACE, Terms
from sharedenv.start.regular import MOST, read_bounded, read_regular
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.cluster.rungs import Rung, Taken

_FORMAT = 2  #: of array.json: 1, which was not written down, has shares


@frozen
class Planned:
    """One case of an old array (static.py): its sequence in the run, and what its script was when the array was made."""

    sequence: int
    key: str
    digest: str


_LATER = ("creates", "launcher", "gpus_per_case", "cpus_per_case")  # a task of an older sharedenv can't run what asks for one
_WORDS = _LATER[:2]  # those of them that are tuples


@frozen
class How:
    """How the tasks run their cases: what `run` has options for, by the same names.

    stage  from node-local disk
    core   threads that a core has on the nodes: as many CPUs, or fewer, are what Slurm gives to who asked for one
    joblog absolute path, None for none: the last worker makes it
    """

    jobs: int | None = None  # None: as many as the task has CPUs
    timeout: float | None = None  # seconds
    grace: float = GRACE
    retries: int = 1  # tries in all
    fail_fast: bool = False
    capture: str | None = None
    threads: int | None = None
    preload: bool = False
    stage: bool = False
    core: int = 1
    verbosity: int = 0
    gpus_per_case: int | None = None
    cpus_per_case: int | None = None
    creates: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    joblog: str | None = None

    @property
    def terms(self) -> Terms:
        """What is the same for all who work on the array."""
        return Terms(
            self.timeout, self.grace, self.retries, self.fail_fast, self.capture, self.threads, self.preload, self.joblog,
            self.creates, self.launcher, self.gpus_per_case, self.cpus_per_case,
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """For array.json: what an older sharedenv, which reads it too, does not know is there only where it was asked for."""
        return {name: value for name, value in asdict(self).items() if value not in ((), None) or name not in _LATER}


def how_of(terms: Terms, *, jobs: int | None, stage: bool, verbosity: int) -> How:
    """How an array runs its cases on these terms: `How.terms` gives them back."""
    noted = terms.record()
    return How(retries=noted.pop("tries"), **noted, jobs=jobs, stage=stage, verbosity=verbosity)


@frozen
class Array:
    """One submission of cases of a run.

    path   its folder, absolute
    cases  of an old one, in the order of the run: its tasks share them; () where they claim them
    tasks  how many there are
    how    to run them
    job    id that Slurm gave to the array, "" before that
    build  id of the job that builds for it, "" for none
    owner  the process that submits it, None where that is not known
    sets   key → digest of the set of versions that its tasks take, where that was known when it was made
    cluster  to whose queue it was given, "" where that is not known
    ranges   first and last sequence of its cases, consecutive ones together
    keys     of their environments
    rung     which one it is, where what it loses goes on in another array
    taken    what it has taken over, as such another array
    """

    path: str
    cases: tuple[Planned, ...]
    tasks: int
    how: How
    job: str = ""
    build: str = ""
    owner: Owner | None = None
    sets: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    ranges: tuple[tuple[int, int], ...] = ()
    keys: tuple[str, ...] = ()
    rung: Rung | None = None
    taken: Taken | None = None

    @property
    def pending(self) -> bool:
        """Whether it has yet to take over what the rungs below it lose."""
        return self.rung is not None and self.rung.number > 1 and self.taken is None

    @property
    def static(self) -> bool:
        """Whether it is an old one, whose tasks have shares."""
        return bool(self.cases)

    @property
    def sequences(self) -> list[int]:
        """Of its cases in the run."""
        return [sequence for first, last in self.ranges for sequence in range(first, last + 1)]

    @property
    def number(self) -> int:
        """1 for the first submission of a run."""
        return int(os.path.basename(self.path))

    @property
    def created(self) -> float:
        """When it was made, seconds since the epoch."""
        return os.stat(os.path.join(self.path, "array.json")).st_mtime

    @property
    def script(self) -> str:
        """Path of its job script."""
        return os.path.join(self.path, "job.sh")

    @property
    def build_script(self) -> str:
        """Path of the script of the job that builds for it."""
        return os.path.join(self.path, "build.sh")

    @property
    def jobs(self) -> dict[str, str]:
        """The ids that Slurm gave, each with the path of the job's script."""
        return {job: script for job, script in ((self.build, self.build_script), (self.job, self.script)) if job}

    @property
    def build_log(self) -> str:
        """Path of the output of the job that builds for it."""
        return os.path.join(self.path, f"build-{self.build}.out")

    def log(self, task: int) -> str:
        """Path of the output of one task, where --output has not put it elsewhere."""
        return os.path.join(self.path, f"{self.job}_{task}.out")


def writer_of(number: int, task: int, restarts: int) -> str:
    """How the name begins under which a task writes results: nobody else has the rest of it."""
    return f"{WORKER}{number}.{task}" + (f"r{restarts}" if restarts else "") + "."


def task_of(writer: str) -> tuple[int, int, int] | None:
    """Number of the array, task and restarts of a writer, `worker.1.17r2.3f09` or that of an old one, `1-17r2`; None for one that is
    no task.
    """
    found = re.fullmatch(r"(?:worker\.(\d+)\.(\d+)(?:r(\d+))?\.\w*|(\d+)-(\d+)(?:r(\d*))?)", writer, re.ASCII)
    if found is None:
        return None
    number, task, restarts = found.groups()[:3] if found[1] else found.groups()[3:]
    return int(number), int(task), int(restarts or 0)


def next_number(run: str) -> int:
    """The number of the next array of the run at this path. Who means to submit asks before looking at what there is to do."""
    return max(_numbers(os.path.join(run, ARRAYS)), default=0) + 1


def create_array(
    run: Run,
    number: int,
    cases: Sequence[Case],
    tasks: int,
    how: How,
    sets: Mapping[str, str] | None = None,
    cluster: str = "",
    known: Mapping[CaseWork, float] | None = None,
    rung: Rung | None = None,
    keys: Collection[str] = (),
) -> Array:
    """Makes the folder of a new array of a run, and so takes the run for a submission. It appears complete, by a rename.

    ``cases``: in the order in which they are to be worked on; ``cluster``: to whose queue it is to be given; ``known``: seconds that they
    took before; a ``rung`` without cases is to take some over that need these ``keys``. Raises SharedenvError when another submission has
    the number: it was faster, and may have the same cases. Raises OSError.
    """
    path = os.path.join(run.path, ARRAYS, str(number))
    owner = this_process()
    staging = os.path.join(run.path, ARRAYS, f".new-{owner.host}-{owner.pid}-{os.urandom(4).hex()}")
    make_folders(staging)
    needed = tuple(sorted({*keys, *(case.key for case in cases)}))
    own = {key: digest for key, digest in (sets or {}).items() if key in needed}
    ranges = _ranges(case.sequence for case in cases)
    array = Array(path, (), tasks, how, owner=owner, sets=own, cluster=cluster, ranges=ranges, keys=needed, rung=rung)
    try:
        if cases:
            write_list(staging, run, cases, known or {})
        _write(
            os.path.join(staging, "array.json"),
            {
                "format": _FORMAT,
                "tasks": tasks,
                "how": how.record(),
                "keys": needed,
                "sets": own,
                "sequences": array.ranges,
                "owner": owner.record(),
                "cluster": cluster,
                **({} if rung is None else {"rung": rung.record()}),
            },
        )
        os.rename(staging, path)  # fails on a folder that is not empty
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, OSError) and os.path.exists(path):
            raise busy(run.path, None) from None
        raise
    return array


def _ranges(sequences: Iterable[int]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for sequence in sorted(sequences):
        if found and found[-1][1] == sequence - 1:
            found[-1] = (found[-1][0], sequence)
        else:
            found.append((sequence, sequence))
    return tuple(found)


def busy(run: str, owner: Owner | None) -> SharedenvError:
    """The error of who meets another submission of the run at this path."""
    run_id = os.path.basename(run)
    return SharedenvError(
        f"run {run_id} is being submitted: {f'process {owner.pid} on {owner.host}' if owner else 'another process'} has it",
        cause="two at once would run its cases twice",
        hint=f"sharedenv status {run_id}",
    )


def note_jobs(array: Array, job: str, build: str) -> Array:
    """Writes down what Slurm called the jobs. Raises OSError."""
    _write(os.path.join(array.path, "job.json"), {"job": job, "build": build})
    return replace(array, job=job, build=build)


def discard_array(array: Array) -> None:
    """Removes an array that was never submitted."""
    shutil.rmtree(array.path, ignore_errors=True)


def open_array(run: str, number: int, *, owned: bool = False) -> Array:
    """The array of this number; ``owned``: to be acted upon, as open_run has it. Raises SharedenvError when it can't be read."""
    path = os.path.join(run, ARRAYS, str(number))
    try:
        array_path = os.path.join(path, "array.json")
        with open_owned(array_path, run) if owned else open_file(array_path) as file:
            plan = json.loads(read_bounded(file.fileno(), array_path, MOST))
        keys = tuple(plan["keys"])
        cases = tuple(Planned(sequence, keys[key], digest) for sequence, key, digest in ([] if "format" in plan else plan["cases"]))
        spans = plan["sequences"] if "format" in plan else [(case.sequence, case.sequence) for case in cases]
        try:
            jobs = _read(os.path.join(path, "job.json"))
        except FileNotFoundError:
            jobs = {"job": "", "build": ""}
        owner = owner_of(plan["owner"]) if "owner" in plan else None
        how = How(**{**plan["how"], **{name: tuple(plan["how"].get(name, ())) for name in _WORDS}})
        found = Array(path, cases, plan["tasks"], how, jobs["job"], jobs["build"], owner, plan.get("sets", {}))
        found = replace(found, cluster=str(plan.get("cluster", "")), ranges=tuple((first, last) for first, last in spans), keys=keys)
        return _on_rung(found, plan["rung"]) if "rung" in plan else found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SharedenvError(f"can't read array {number} of run {os.path.basename(run)}", cause=f"{path}: {error}") from None


def _on_rung(array: Array, record: Mapping[str, Any]) -> Array:
    from sharedenv.cluster.rungs import read_taken, rung_of  # noqa: PLC0415 - most arrays have none

    rung = rung_of(record)
    taken = read_taken(array.path) if rung.number > 1 else None
    return replace(array, rung=rung, taken=taken, ranges=array.ranges if taken is None else _ranges(taken.sequences))


def list_arrays(run: str) -> list[Array]:
    """Every array of the run at this path, oldest first; [] for a run that never met Slurm."""
    found = []
    for number in sorted(_numbers(os.path.join(run, ARRAYS))):
        try:
            found.append(open_array(run, number))
        except SharedenvError:
            continue  # another one's rubbish
    return found


def _numbers(parent: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(parent) if name.isdigit()]
    except FileNotFoundError:
        return []


def _read(path: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(read_regular(path))
    return value


def _write(path: str, value: Mapping[str, Any]) -> None:
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8", opener=private) as file:
        json.dump(value, file, separators=(",", ":"))
        file.flush()
        sync_descriptor(file.fileno())
    os.rename(temporary, path)
