"""What of a job's surroundings makes it doubtful that a run is meant as it was said."""

from __future__ import annotations

from collections.abc import Mapping

from sharedenv.app.work import Wanted, Work
from sharedenv.cluster.crew import NESTED
from sharedenv.report.words import count


def doubt(asked: Wanted, work: Work, environ: Mapping[str, str]) -> str | None:
    """Where the task of an array runs all the scripts, and may not be meant to: why; else None."""
    if len(work.cases) < 2 or asked.share is not None or environ.get(NESTED):
        return None
    many = count(len(work.cases), "script")
    number, tasks = environ.get("SLURM_ARRAY_TASK_ID", ""), environ.get("SLURM_ARRAY_TASK_COUNT", "1")
    if not number or tasks == "1" or _has_own(asked, number):
        return _idle_nodes(many, environ)
    return f"each of the {tasks} tasks of this array runs the same {many}; with --array they share them"


def _has_own(asked: Wanted, number: str) -> bool:
    """Whether what is to run differs from task to task, of which this one has the ``number``."""
    words = [*asked.selection.arguments, asked.selection.from_file or "", *(asked.arguments or ())]
    return asked.selection.from_file == "-" or any(number in word for word in words)


def _idle_nodes(many: str, environ: Mapping[str, str]) -> str | None:
    """That a job has more nodes than the one this runs on; None where it has not, or where srun starts us on each."""
    nodes = environ.get("SLURM_JOB_NUM_NODES", "1")
    if nodes == "1" or "SLURM_STEP_ID" in environ:
        return None
    return f"this job has {nodes} nodes, and all the {many} run on this one; on all of them: srun --ntasks-per-node=1 sharedenv run"
