"""What a program may use of sharedenv: `import sharedenv` gives these names (docs/python.md).

Nothing is printed, no signal's handler, current folder, umask or variable of the caller is changed (a build in the main thread hears TERM
and HUP meanwhile, where nobody else does), and every function may be called from any thread, and from several at once.
"""

from sharedenv.api.environments import build, find
from sharedenv.api.jobs import CaseOutput
from sharedenv.api.look import report, results, runs, status
from sharedenv.api.outcome import CaseResult, RunFailed, RunResult, RunStatus
from sharedenv.api.running import join, run
from sharedenv.api.submitting import plan, submit
from sharedenv.errors import SharedenvError
from sharedenv.pool.store import Environment

__all__ = [
    "CaseOutput",
    "CaseResult",
    "Environment",
    "RunFailed",
    "RunResult",
    "RunStatus",
    "SharedenvError",
    "build",
    "find",
    "join",
    "plan",
    "report",
    "results",
    "run",
    "runs",
    "status",
    "submit",
]
