"""What a program may use of sharedenv: `import sharedenv` gives it (docs/python.md).

Nothing is printed, no signal's handler, current folder, umask or variable of the caller is changed (a build in the main thread hears TERM
and HUP meanwhile, where nobody else does), and every function may be called from any thread, and from several at once.
"""

from importlib import import_module

#: module → what of it is public
_PUBLIC = {
    "sharedenv.api.environments": ("build", "find"),
    "sharedenv.api.jobs": ("CaseOutput",),
    "sharedenv.api.look": ("report", "results", "runs", "status"),
    "sharedenv.api.outcome": ("CaseResult", "RunFailed", "RunResult", "RunStatus"),
    "sharedenv.api.running": ("join", "run"),
    "sharedenv.api.submitting": ("plan", "submit"),
    "sharedenv.errors": ("SharedenvError",),
    "sharedenv.pool.store": ("Environment",),
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}


def public(name: str) -> object:
    """What is public under this name; no module is loaded but its own."""
    return getattr(import_module(_MODULES[name]), name)
