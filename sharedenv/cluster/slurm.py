"""The cluster as its user sees it: the only module that knows sbatch, squeue, scontrol, scancel, sinfo and sacct."""

from __future__ import annotations

import calendar
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence

from sharedenv.errors import EXIT_FAILED, EXIT_INTERRUPTED, SharedenvError
from sharedenv.process import Finished, capture, interruptible
from sharedenv.values import frozen

#: states of a task that will run or runs; every other one is an end
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
RUNNING = frozenset(
    {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)

OUT_OF_MEMORY = "OUT_OF_MEMORY"
TIME_UP = "its task met its time limit"
_ENDINGS = {
    "BOOT_FAIL": "its node did not boot",
    "CANCELLED": "its task was cancelled",
    "COMPLETED": "its task ended without reporting",
    "DEADLINE": "its task met its deadline",
    "FAILED": "its job script failed",
    "NODE_FAIL": "its node failed",
    OUT_OF_MEMORY: "its task ran out of memory",
    "PREEMPTED": "its task was preempted",
    "TIMEOUT": TIME_UP,
}
#: Slurm's reason for an end that its state says too little of → in words for the user
_NEVER = {"DependencyNeverSatisfied": "the job that it depends on did not end as --dependency asks"}

PATIENCE = 60.0  #: seconds that a controller has for an answer
#: what sbatch says when a request was sent and no answer came: a busy controller may carry it out all the same
_UNCLEAR = re.compile("timed out|Zero Bytes were transmitted")


class Unclear(SharedenvError):
    """sbatch has not said what became of a job: it may be in the queue."""


@frozen
class SlurmTask:
    """One task of a job as Slurm describes it.

    job     id of the array (of the job, for one that is no array)
    index   number in the array, None for a job that is no array
    state   Slurm's word: PENDING, RUNNING, TIMEOUT …
    node    where it runs or ran, "" before that
    reason  why it waits or ended so, in Slurm's word
    """

    job: str
    index: int | None
    state: str
    node: str = ""
    reason: str = ""

    @property
    def waiting(self) -> bool:
        """Whether it will be started."""
        return self.state in WAITING

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.state in RUNNING

    @property
    def live(self) -> bool:
        """Whether Slurm still has to run it, or runs it."""
        return self.waiting or self.running

    @property
    def stuck(self) -> bool:
        """Whether it waits for what will never be."""
        return self.waiting and self.reason in _NEVER

    @property
    def ending(self) -> str:
        """How it ended, in words for the user, said of a case."""
        return _NEVER.get(self.reason) or _ENDINGS.get(self.state, f"Slurm says {self.state} of its task")


def submit(
    script: str, arguments: Sequence[str], environ: Mapping[str, str], cwd: str, tell: Callable[[str], None] | None = None
) -> str:
    """Hands a job script to sbatch and returns the job's id. Raises SharedenvError with sbatch's words, Unclear where they don't tell.

    ``tell`` is given its words while it waits: in front of a full queue it does so for many minutes.
    """
    environ = {name: value for name, value in environ.items() if name not in ("SBATCH_WAIT", "SBATCH_ARRAY_INX")}
    message = "can't tell whether the job is in Slurm's queue"
    try:
        # sbatch has a patience of its own: killed, it would leave a job that it was about to name
        # and it must not go on by itself when we are ended: what it hands over then, nobody knows of
        with interruptible():
            done = _call(["sbatch", "--parsable", *arguments, script], environ, cwd, patience=None, tell=tell)
        match = re.match(r"(\d+)(;|$)", done.stdout.strip().rpartition("\n")[2]) if done.status == 0 else None
        unclear = match is None and (done.status <= 0 or _UNCLEAR.search(done.stderr) is not None)
        job = match[1] if match else _find_quietly(script, environ) if unclear else None
    except KeyboardInterrupt:
        raise Unclear(message, cause="interrupted before sbatch answered", exit_code=EXIT_INTERRUPTED) from None
    if job is not None:
        return job
    if unclear:
        raise Unclear(message, cause=_words(done), exit_code=EXIT_FAILED)
    raise SharedenvError(
        "sbatch did not take the job",
        cause=_words(done),
        hint="sharedenv submit --print … shows the job script",
        exit_code=EXIT_FAILED,
    )


def _find_quietly(script: str, environ: Mapping[str, str]) -> str | None:
    try:
        return find(script, environ)
    except SharedenvError:
        return None


def find(script: str, environ: Mapping[str, str], patience: float = PATIENCE) -> str | None:
    """The id of the job that this script was submitted as; None where Slurm knows of none. Raises SharedenvError when it can't say."""
    argv = ["squeue", "--noheader", "--all", "--states=all", f"--user={os.getuid()}", "--format=%F|%o"]
    done = _call(argv, environ, patience=patience)
    if done.status != 0:
        raise SharedenvError("squeue does not answer", cause=_words(done), exit_code=EXIT_FAILED)
    found = (line.partition("|") for line in done.stdout.splitlines())
    return next((job for job, _, command in found if command == script), None)


def tasks(jobs: Mapping[str, str], environ: Mapping[str, str], patience: float = PATIENCE) -> list[SlurmTask]:
    """Every task of these jobs that Slurm still knows, ended ones included while it remembers them (MinJobAge).

    ``jobs``: id → path of the job script. A job of that number with another script is a stranger's: another cluster, or a controller
    that numbers anew, gave it the number. Raises SharedenvError when the controller doesn't answer, or not within ``patience`` seconds.
    """
    if not jobs:
        return []
    # --all: jobs in hidden partitions, too
    argv = ["squeue", "--noheader", "--all", "--array", "--states=all", f"--jobs={','.join(jobs)}", "--format=%F|%K|%T|%N|%r|%o"]
    done = _call(argv, environ, patience=patience)
    if done.status != 0:
        if "Invalid job id" in done.stderr:
            return []  # what squeue says when it knows none of them any more
        raise SharedenvError("squeue did not answer", cause=_words(done), hint="scontrol ping", exit_code=EXIT_FAILED)
    return [task for line in re.split(r"\n(?=\d+\|)", done.stdout) if (task := _task(line, jobs))]


def accounts(jobs: Sequence[str], environ: Mapping[str, str]) -> list[SlurmTask]:
    """What the accounting (sacct) remembers of these jobs: [] where a cluster has none, or one that doesn't answer soon."""
    if not jobs:
        return []
    argv = ["sacct", "--noheader", "--parsable2", "--allocations", "--array", f"--jobs={','.join(jobs)}"]
    try:
        done = _call([*argv, "--format=JobID,State,NodeList"], environ, patience=10.0)
    except SharedenvError:
        return []
    found = []
    for line in done.stdout.splitlines() if done.status == 0 else []:
        identity, _, rest = line.partition("|")
        state, _, node = rest.partition("|")
        job, _, index = identity.partition("_")
        if job.isdigit() and (not index or index.isdigit()) and state:
            found.append(SlurmTask(job, int(index) if index else None, state.split()[0].rstrip("+"), _node(node)))
    return found


def cancel(jobs: Sequence[str], environ: Mapping[str, str]) -> None:
    """Cancels these jobs with all their tasks; those that have ended already are passed over. Raises SharedenvError."""
    done = _call(["scancel", *jobs], environ)
    if done.status != 0 and "Invalid job id" not in done.stderr:
        raise SharedenvError("scancel failed", cause=_words(done), hint="squeue --me", exit_code=EXIT_FAILED)


def submitted(job: str, environ: Mapping[str, str], patience: float = 10.0) -> float | None:
    """When a job was submitted, seconds since the epoch by the controller's clock; None where Slurm doesn't say."""
    argv = ["squeue", "--noheader", "--all", "--states=all", f"--jobs={job}", "--format=%V"]
    try:
        done = _call(argv, {**environ, "TZ": "UTC0"}, patience=patience)
        times = [calendar.timegm(time.strptime(line.strip(), "%Y-%m-%dT%H:%M:%S")) for line in done.stdout.splitlines()]
    except (SharedenvError, ValueError):
        return None
    return min(times, default=None)  # of a task that was requeued it is later


def largest_array(environ: Mapping[str, str]) -> int:
    """The most tasks that an array numbered from 1 may have: MaxArraySize − 1. Raises SharedenvError."""
    done = _call(["scontrol", "show", "config"], environ)
    if done.status != 0:
        raise SharedenvError("Slurm does not answer", cause=_words(done), hint="scontrol ping", exit_code=EXIT_FAILED)
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    size = int(match[1]) if match else 1001  # Slurm's own default
    if size < 2:
        raise SharedenvError("this cluster takes no array jobs", cause=f"its MaxArraySize is {size}")
    return size - 1


def silence(environ: Mapping[str, str], patience: float) -> str:
    """Why Slurm's controller has no answer for us, within ``patience`` seconds; "" where it has."""
    done = _call(["sinfo", "--noheader", "--format=%R"], environ, patience=patience)
    return _words(done) if done.status else ""


def name(environ: Mapping[str, str]) -> str:
    """The cluster's ClusterName; "" where Slurm can't say."""
    try:
        done = _call(["scontrol", "show", "config"], environ)
    except SharedenvError:
        return ""
    match = re.search(r"^ClusterName\s*=\s*(\S+)", done.stdout, re.MULTILINE)
    return match[1] if done.status == 0 and match else ""


def count_cpus(partition: str | None, environ: Mapping[str, str]) -> int | None:
    """CPUs of the nodes of a partition (None: the default one) that are in service; None when Slurm can't say."""
    argv = ["sinfo", "--noheader", "--format=%P|%C"] + ([] if partition is None else [f"--partition={partition}"])
    done = _call(argv, environ)
    counted = 0
    for line in done.stdout.splitlines() if done.status == 0 else []:
        name, _, states = line.partition("|")
        cpus = states.split("/")  # allocated/idle/other/total: "other" are down or drained
        if len(cpus) == 4 and (partition is not None or name.endswith("*")):
            counted += _kilo(cpus[0]) + _kilo(cpus[1])
    return counted or None


def count_threads(partition: str | None, environ: Mapping[str, str]) -> int:
    """The threads of a core on the nodes of a partition (None: any), the most of them; 1 where Slurm can't say."""
    argv = ["sinfo", "--noheader", "--format=%Z"] + ([] if partition is None else [f"--partition={partition}"])
    done = _call(argv, environ)
    return max((int(word) for word in done.stdout.split() if word.isdigit()), default=1) if done.status == 0 else 1


def _task(line: str, jobs: Mapping[str, str]) -> SlurmTask | None:
    fields = line.rstrip("\n").split("|", 5)
    if len(fields) < 6 or not fields[0].isdigit():
        return None
    job, index, state, node, reason, script = fields
    # runs/<run-id>/slurm/<n>/job.sh: what is above has many names, by links, mounts and moves
    if jobs.get(job, "").split("/")[-5:] != script.split("/")[-5:]:
        return None
    return SlurmTask(job, int(index) if index.isdigit() else None, state, _node(node), "" if reason == "None" else reason)


def _node(text: str) -> str:
    return "" if text in ("(null)", "None assigned", "n/a") else text


def _kilo(text: str) -> int:
    # sinfo shortens large counts: 12.5K
    number = text.rstrip("KM")
    scale = {"K": 1000, "M": 1_000_000}.get(text[-1:], 1)
    return int(float(number) * scale) if number.replace(".", "", 1).isdigit() else 0


def _call(
    argv: Sequence[str],
    environ: Mapping[str, str],
    cwd: str | None = None,
    patience: float | None = PATIENCE,
    tell: Callable[[str], None] | None = None,
) -> Finished:
    try:
        return capture(argv, env=_clean(environ), cwd=cwd, timeout=patience, tell=tell)
    except FileNotFoundError:
        raise SharedenvError(
            f"Slurm is not to be found here: no {argv[0]} on PATH", hint="sharedenv run … runs the scripts here, without Slurm"
        ) from None
    except OSError as error:
        raise SharedenvError(f"can't start {argv[0]}", cause=error.strerror, hint=f"type -a {argv[0]}", exit_code=EXIT_FAILED) from None


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for Slurm's commands: no user's taste in columns or filters, and nothing of the job we may be in.

    A job submitted from within a job would inherit its SLURM_CPUS_PER_TASK and the like.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith(("SQUEUE_", "SINFO_", "SACCT_"))}
    if "SLURM_JOB_ID" in environ:
        kept = {name: value for name, value in kept.items() if name == "SLURM_CONF" or not name.startswith("SLURM_")}
    return kept


def _words(done: Finished) -> str:
    text = done.stderr.strip() or done.stdout.strip() or f"exit status {done.status}"
    return re.sub(r"^(sbatch|squeue|scancel|slurm_load_jobs error): (error: )?", "", text, flags=re.MULTILINE)
