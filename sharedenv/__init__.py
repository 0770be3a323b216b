"""sharedenv: one environment for thousands of copies of a script.

The command is `sharedenv`. What a program may use is listed in `__all__` (`sharedenv help python`), and is loaded when it is first
asked for: `sharedenv exec` pays for every import in each of thousands of starts.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sharedenv.api.environments import build, find
    from sharedenv.api.jobs import CaseOutput
    from sharedenv.api.look import report, results, runs, status
    from sharedenv.api.outcome import CaseResult, RunFailed, RunResult, RunStatus
    from sharedenv.api.running import join, run
    from sharedenv.api.submitting import plan, submit
    from sharedenv.errors import SharedenvError
    from sharedenv.pool.store import Environment

__version__ = "0.1.0"
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


class _Package(type(sys)):  # type: ignore[misc]  # ModuleType, without loading types
    """build, report and run are folders of the package, too: Python, which makes attributes of them, must not hide what is public."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and type(value) is type(sys)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


if not TYPE_CHECKING:  # to a type checker, which reads the names above, any other is an error

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from sharedenv.api import public  # noqa: PLC0415 - see above

        return public(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
