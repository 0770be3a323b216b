"""Which command was meant by a word that is none: what other tools call the same."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Sequence

from sharedenv.errors import SharedenvError
from sharedenv.script.find import is_pattern

#: what users try → the command that does it
_OTHERS = {
    "rm remove delete clean cleanup purge gc uninstall": "prune --dry-run",
    "log logs tail watch progress ps top history runs jobs queue squeue sacct info result results failed failures errors": "status",
    "kill stop abort scancel qdel bkill": "cancel",
    "retry rerun": "run --retry-failed",
    "resume continue": "run --resume",
    "sync install create add make prepare setup venv": "build SCRIPT",
    "upgrade update": "build --upgrade SCRIPT",
    "sbatch array": "submit SCRIPT",
    "start execute": "run SCRIPT",
    "python python3 py": "exec SCRIPT",
    "shell source env": "activate SCRIPT",
    "work worker": "join RUN",
    "freeze requirements": "export SCRIPT",
    "hash id": "key SCRIPT",
    "pip tree packages": "show SCRIPT",
    "ls envs environments": "list",
    "check audit fsck test": "verify",
    "repair fix rebuild": "verify --repair",
    "copy cp": "stage SCRIPT --to DIR",
    "pin compile": "lock SCRIPT",
    "diagnose health debug": "doctor",
    "new pool": "init",
    "man manual docs doc tutorial": "help",
    "version": "--version",
}
_COMMAND = {word: command for words, command in _OTHERS.items() for word in words.split()}


def unknown_command(word: str, commands: Collection[str], rest: Sequence[str] = ()) -> SharedenvError:
    """The error for a word that is no command; ``rest``: what follows it."""
    if word.endswith(".py") or is_pattern(word):  # as one starts `python` and `uv run`
        return SharedenvError(f"no such command {word!r}", hint=shlex.join(["sharedenv", "run", word]))
    near = difflib.get_close_matches(word, commands, 1)
    if meant := _COMMAND.get(word.lower()):
        scripts = shlex.join(one for one in rest if one.endswith(".py"))
        return SharedenvError(f"no such command {word!r}", hint=f"sharedenv {meant.replace('SCRIPT', scripts or 'SCRIPT')}")
    if near:
        return SharedenvError(f"no such command {word!r}; did you mean {near[0]!r}?", hint=shlex.join(["sharedenv", near[0], *rest]))
    return SharedenvError(f"no such command {word!r}", hint="sharedenv --help")
