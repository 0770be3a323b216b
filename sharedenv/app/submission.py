"""What is asked of a submission, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sharedenv.app.build import Builds
from sharedenv.app.recorder import Teller
from sharedenv.app.work import Wanted, Work
from sharedenv.build.options import BuildOptions
from sharedenv.cluster.arrays import Array
from sharedenv.cluster.packing import Packing
from sharedenv.cluster.sbatch import SbatchOptions
from sharedenv.cluster.scheduler import Scheduler
from sharedenv.cluster.submissions import Submission
from sharedenv.pool.layout import Layout
from sharedenv.run.journal.run import Run
from sharedenv.run.terms import ORDERS, Terms
from sharedenv.values import frozen


@frozen
class SubmitOrder:
    """How some work is to be submitted.

    terms        of each case, with the joblog
    build        how what is missing is built
    task         of each task, as --time, --mem … and --sbatch say it: several values of the first two, divided by commas, are rungs
    qsub         what Grid Engine alone is asked
    packing      how many tasks there are
    jobs         cases at a time in a task; None: its CPUs
    max_running  tasks at once, None for no limit of ours
    order        in which the cases may be begun, as --order says
    after        the run that has to end well first
    stage        each node works on copies of its own
    builds       whether what is missing may be built; build_job: in a job of its own
    print_only   the job script is wanted, and no more
    insist       also where another run is at work on these cases
    upgrade      the rest of an earlier run is computed with the versions that are asked for now
    verbosity    of the tasks
    words        the options that a run which goes on takes over
    anew         names of the options that are given now: not taken over from an earlier run
    """

    terms: Terms
    build: BuildOptions
    task: SbatchOptions
    qsub: tuple[str, ...] = ()
    packing: Packing = Packing()
    jobs: int | None = None
    max_running: int | None = None
    order: str = ORDERS[0]
    after: str | None = None
    stage: bool = False
    builds: bool = True
    build_job: bool = False
    print_only: bool = False
    insist: bool = False
    upgrade: bool = False
    verbosity: int = 0
    words: tuple[str, ...] = ()
    anew: frozenset[str] = frozenset()

    @property
    def noted(self) -> Mapping[str, Any]:
        """For who goes on with the run (`Asked.extra`)."""
        joblog = ("--joblog", self.terms.joblog) if self.terms.joblog else ()  # wherever the run goes on, it is this file
        return {"slurm": True, "again": [*self.words, *joblog]}

    @property
    def builds_here(self) -> bool:
        """Whether what is missing may be built before the submission."""
        return self.builds and not self.build_job and not self.print_only


@frozen
class SubmitCall:
    """A submission that is asked for.

    goes_on    with an earlier run
    inherit    what is asked for and how, where it goes on with this run
    scheduler  its key, None for the one that is here
    waits      the caller wants to hear of its end
    """

    asked: Wanted
    order: SubmitOrder
    inherit: Callable[[Run], tuple[Wanted, SubmitOrder]]
    goes_on: bool = False
    scheduler: str | None = None
    waits: bool = False


@frozen
class Surroundings:
    """Where a submission is made: the folder (absolute), who is told, who builds, the environment."""

    here: str
    tell: Teller
    builds: Builds
    environ: Mapping[str, str]


@frozen
class Submitted:
    """What came of it.

    run        None where there is none: a preview of a new one
    work       None where nobody looked what is left: the queue has it, or workers that are to come take it
    cases      how many were submitted
    scheduler  whose queue it is
    joined     tasks join the run as workers, they have no array of their own
    arrays     that are new, of a run on Slurm; its higher rungs follow the first
    queued     earlier ones that the queue has something of
    submission the array of workers that is new
    logs       the files with what they print, "" where the cases' own files have it
    script     the job scripts, where they were asked for
    """

    layout: Layout
    run: Run | None
    work: Work | None
    scheduler: Scheduler
    cases: int = 0
    joined: bool = False
    arrays: tuple[Array, ...] = ()
    queued: tuple[Array, ...] = ()
    submission: Submission | None = None
    logs: str = ""
    script: str = ""

    @property
    def is_new(self) -> bool:
        """Whether something was submitted."""
        return bool(self.arrays) or self.submission is not None
