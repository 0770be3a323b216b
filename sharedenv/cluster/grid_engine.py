"""Grid Engine as its user sees it: the only module that knows qsub, qstat, qdel, qconf and qacct. Tried with 8.1.9 (Son of Grid Engine)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sharedenv.cluster import qsub, scheduler
from sharedenv.cluster.sbatch import SbatchOptions
from sharedenv.cluster.scheduler import Scheduler, Unclear
from sharedenv.cluster.slurm import PATIENCE
from sharedenv.errors import EXIT_FAILED, EXIT_INTERRUPTED, SharedenvError
from sharedenv.process import Finished, capture, interruptible
from sharedenv.values import frozen

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: qacct's number of a failure → in words for the user
_ENDINGS = {
    "25": "its task was started anew",
    "37": "its task met its time limit (h_rt), or that of memory",
    "100": "its task was killed",
}
#: states of a queue on a node: nothing is heard of the node
_SILENT = "u"
_GONE = "ended"
_STAMP = re.compile(r"^\d\d/\d\d/\d{4} \d\d:\d\d:\d\d \[[^]]*\]: ")


@frozen
class GridEngineTask:
    """One task of a job (`scheduler.Task`); ``state``: letters of qstat, or what qacct says of one that has ended."""

    job: str
    index: int | None
    state: str
    node: str = ""
    reason: str = ""

    @property
    def waiting(self) -> bool:
        """Whether it will be started; one in error (E) only once that is cleared."""
        return "w" in self.state

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.live and not self.waiting

    @property
    def live(self) -> bool:
        """Whether Grid Engine still has to run it, or runs it."""
        return self.state != _GONE

    @property
    def stuck(self) -> bool:
        """Whether it won't go on by itself: it could not be started, or its node is silent."""
        return "E" in self.state or (self.running and self.reason != "")

    @property
    def ending(self) -> str:
        """How it ended, in words for the user, said of a case."""
        return _ENDINGS.get(self.reason, "its task ended without reporting")


class GridEngine:
    """Grid Engine (`Scheduler`)."""

    key = "gridengine"
    title = "Grid Engine"
    queue_command = "qstat"

    arguments = staticmethod(qsub.arguments)
    script_text = staticmethod(qsub.script_text)
    log_path = staticmethod(qsub.log_path)

    def submit(
        self, script: str, arguments: Sequence[str], environ: Mapping[str, str], cwd: str, tell: Callable[[str], None] | None = None
    ) -> str:
        """Hands a job script to qsub."""
        message = "can't tell whether the job is in Grid Engine's queue"
        try:
            with interruptible():
                done = _call(["qsub", "-terse", *arguments, script], environ, cwd, patience=None, tell=tell)
            match = re.search(r"^(\d+)(?:\.|$)", done.stdout, re.MULTILINE) if done.status == 0 else None
            unclear = match is None and (done.status <= 0 or "got send timeout" in done.stderr or "got read timeout" in done.stderr)
            job = match[1] if match else self._find_quietly(script, environ) if unclear else None
        except KeyboardInterrupt:
            raise Unclear(message, cause="interrupted before qsub answered", exit_code=EXIT_INTERRUPTED) from None
        if job is not None:
            return job
        if unclear:
            raise Unclear(message, cause=_words(done), exit_code=EXIT_FAILED)
        hint = "sharedenv submit --print … shows the job script"
        raise SharedenvError("qsub did not take the job", cause=_words(done), hint=hint, exit_code=EXIT_FAILED)

    def _find_quietly(self, script: str, environ: Mapping[str, str]) -> str | None:
        try:
            return self.find(script, environ)
        except SharedenvError:
            return None

    def find(self, script: str, environ: Mapping[str, str], patience: float = PATIENCE) -> str | None:
        """By the name that its script has given it."""
        name = qsub.job_name(script)
        return next((task.job for found, task in _queue(environ, patience) if found == name), None)

    def tasks(self, jobs: Mapping[str, str], environ: Mapping[str, str], patience: float = PATIENCE) -> list[GridEngineTask]:
        """Those that wait or run: what has ended, qstat doesn't know."""
        if not jobs:
            return []
        names = {job: qsub.job_name(script) for job, script in jobs.items()}
        found = [task for name, task in _queue(environ, patience) if names.get(task.job) == name]
        reasons = {job: _reasons(job, environ, patience) for job in {task.job for task in found if "E" in task.state}}
        return [_with_reason(task, reasons.get(task.job, {})) for task in found]

    def accounts(self, jobs: Sequence[str], environ: Mapping[str, str]) -> list[GridEngineTask]:
        """By qacct, which reads a file that a site may keep from users."""
        found = []
        for job in jobs:
            try:
                done = _call(["qacct", "-j", job], environ, patience=10.0)
            except SharedenvError:
                return []
            found += list(_accounted(job, done.stdout)) if done.status == 0 else []
        return found

    def remedy(self, task: scheduler.Task) -> str:
        """It is taken from a silent node, or what kept it from starting is forgotten."""
        where = task.job if task.index is None else f"{task.job}.{task.index}"
        return f"qmod -rj {where}" if task.running else f"qmod -cj {where}"

    def cancel(self, jobs: Sequence[str], environ: Mapping[str, str]) -> None:
        """By qdel."""
        done = _call(["qdel", *jobs], environ)
        if done.status != 0 and "does not exist" not in done.stdout + done.stderr:
            raise SharedenvError("qdel failed", cause=_words(done), hint="qstat", exit_code=EXIT_FAILED)

    def largest_array(self, environ: Mapping[str, str]) -> int:
        """max_aj_tasks of its configuration, where 0 is no limit."""
        done = _asked(["qconf", "-sconf"], environ)
        match = re.search(r"^max_aj_tasks\s+(\d+)", done.stdout, re.MULTILINE)
        return (int(match[1]) if match else 75_000) or 2**31 - 1

    def count_cpus(self, partition: str | None, environ: Mapping[str, str]) -> int | None:
        """Slots of the queues, without those of nodes that need a hand."""
        done = _call(["qstat", "-g", "c", "-xml", *([] if partition is None else ["-q", partition])], environ)
        rows = _parsed(done).iter("cluster_queue_summary") if done.status == 0 else ()
        counted = sum(_number(row, "total") - _number(row, "manual_intervention") for row in rows)
        return counted or None

    def name(self, environ: Mapping[str, str]) -> str:
        """The host that schedules."""
        try:
            done = _call(["qconf", "-sss"], environ)
        except SharedenvError:
            return ""
        return done.stdout.strip() if done.status == 0 else ""

    def task_number(self, environ: Mapping[str, str]) -> int | None:
        """By SGE_TASK_ID, which is a word in a job that is no array."""
        number = environ.get("SGE_TASK_ID", "")
        return int(number) if number.isdigit() else None

    def restarts(self, environ: Mapping[str, str]) -> int:
        """1 for a task that was started anew, however often."""
        return int(environ.get("RESTARTED") == "1")

    def completed(self, options: SbatchOptions, environ: Mapping[str, str]) -> SbatchOptions:
        """CPUs of one node are asked for by a parallel environment, whose name is the site's own."""
        if options.cpus_per_task is None:
            return options
        if qsub.asks_for_slots(options.more):
            raise SharedenvError("--cpus-per-task and --qsub '-pe …' both say how many CPUs a task has", hint="sharedenv submit --help")
        name = _parallel_environment(options.cpus_per_task, environ)
        return replace(options, more=(*options.more, f"-pe {name} {options.cpus_per_task}"))


GRID_ENGINE: Scheduler = GridEngine()


def _parallel_environment(cpus: int, environ: Mapping[str, str]) -> str:
    done = _call(["qconf", "-spl"], environ)  # 1 where it has none
    names = done.stdout.split() if done.status == 0 else []
    fitting = [each for each in names if _is_of_one_node(_asked(["qconf", "-sp", each], environ).stdout)]
    if "smp" in fitting or len(fitting) == 1:
        return "smp" if "smp" in fitting else fitting[0]
    none = f"none of them has $pe_slots: {', '.join(names)}" if names else "it has none"
    raise SharedenvError(
        "can't tell which parallel environment of this Grid Engine gives CPUs of one node",
        cause=f"several do: {', '.join(fitting)}" if fitting else none,
        hint=f"sharedenv submit --qsub '-pe NAME {cpus}' …, in place of --cpus-per-task",
    )


def _queue(environ: Mapping[str, str], patience: float) -> Iterator[tuple[str, GridEngineTask]]:
    """Every task of everybody that waits or runs, each with its job's name."""
    # -f -ne: with the state of the queues in which something runs
    root = _parsed(_asked(["qstat", "-xml", "-f", "-ne", "-u", "*"], environ, patience))
    for queue in root.iter("Queue-List"):
        node = _text(queue, "name").rpartition("@")[2]
        silent = f"{node} doesn't answer" if _SILENT in _text(queue, "state") else ""
        for entry in queue.iter("job_list"):
            yield from _entry(entry, node, silent)
    for part in root.iter("job_info"):
        for entry in part.findall("job_list"):
            yield from _entry(entry, "", "")


def _entry(entry: Element, node: str, reason: str) -> Iterator[tuple[str, GridEngineTask]]:
    job, state = _text(entry, "JB_job_number"), _text(entry, "state")
    for index in _indices(_text(entry, "tasks")):
        yield _text(entry, "JB_name"), GridEngineTask(job, index, state, node, reason)


def _indices(text: str) -> Iterator[int | None]:
    """`7`, `2,3`, `5-9:2` and lists of these; one without a number for a job that is no array."""
    if not text:
        yield None
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(\d+)(?:-(\d+):(\d+))?", part)
        if match:
            first = int(match[1])
            yield from range(first, int(match[2] or first) + 1, int(match[3] or 1) or 1)


def _reasons(job: str, environ: Mapping[str, str], patience: float) -> dict[int, str]:
    """Why tasks of a job are in error, by their number."""
    done = _call(["qstat", "-j", job], environ, patience=patience)
    lines = re.findall(r"^error reason\s+(\d+):\s+(.*)$", done.stdout, re.MULTILINE) if done.status == 0 else []
    return {int(number): _STAMP.sub("", words).removeprefix("error: ") for number, words in lines}


def _with_reason(task: GridEngineTask, reasons: Mapping[int, str]) -> GridEngineTask:
    if "E" not in task.state:
        return task
    return replace(task, reason=reasons.get(task.index or 1, "it is in error"))


def _accounted(job: str, text: str) -> Iterator[GridEngineTask]:
    for block in re.split(r"^=+$", text, flags=re.MULTILINE):
        fields = dict(re.findall(r"^(\w+)[ \t]+(.*?)[ \t]*$", block, re.MULTILINE))
        if "taskid" in fields:
            number, failed = fields["taskid"], fields.get("failed", "0").split()[0]
            yield GridEngineTask(job, int(number) if number.isdigit() else None, _GONE, fields.get("hostname", ""), failed)


def _is_of_one_node(text: str) -> bool:
    return re.search(r"^allocation_rule\s+\$pe_slots\s*$", text, re.MULTILINE) is not None


def _parsed(done: Finished) -> Element:
    from xml.etree import ElementTree as Tree  # noqa: PLC0415 - only who asks qstat needs it

    try:
        return Tree.fromstring(done.stdout)
    except Tree.ParseError as error:
        raise SharedenvError("can't read what qstat says", cause=str(error), hint="qstat", exit_code=EXIT_FAILED) from None


def _text(entry: Element, name: str) -> str:
    return (entry.findtext(name) or "").strip()


def _number(entry: Element, name: str) -> int:
    text = _text(entry, name)
    return int(text) if text.isdigit() else 0


def _asked(argv: Sequence[str], environ: Mapping[str, str], patience: float = PATIENCE) -> Finished:
    done = _call(argv, environ, patience=patience)
    if done.status != 0:
        raise SharedenvError("Grid Engine does not answer", cause=_words(done), hint="qstat", exit_code=EXIT_FAILED)
    return done


def _call(
    argv: Sequence[str],
    environ: Mapping[str, str],
    cwd: str | None = None,
    patience: float | None = PATIENCE,
    tell: Callable[[str], None] | None = None,
) -> Finished:
    try:
        return capture(argv, env=environ, cwd=cwd, timeout=patience, tell=tell)
    except FileNotFoundError:
        hint = "sharedenv run … runs the scripts here, without Grid Engine"
        raise SharedenvError(f"Grid Engine is not to be found here: no {argv[0]} on PATH", hint=hint) from None
    except OSError as error:
        raise SharedenvError(f"can't start {argv[0]}", cause=error.strerror, hint=f"type -a {argv[0]}", exit_code=EXIT_FAILED) from None


def _words(done: Finished) -> str:
    text = done.stderr.strip() or done.stdout.strip() or f"exit status {done.status}"
    lines = [re.sub(r"^(Unable to run job: |error: )+", "", line) for line in text.splitlines() if line.strip() not in ("Exiting.", "")]
    return os.linesep.join(lines) or text
