"""The fast way of `exec`, `which` and `activate`: from a script's bytes to its environment by one link in the pool's index.

It is taken when the command line is plain and the pool has seen the same bytes before; everything else, and every error,
is left to the full way. It starts thousands of times: it imports next to nothing (a test pins the list) and looks at few files.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: variables of ours that change nothing once the environment is there; with any other set, the full way decides
_INERT = frozenset(
    "SHAREDENV_" + name for name in ("POOL", "PYTHON", "NO_BUILD", "OFFLINE", "NO_COMPILE", "JOBS", "QUIET", "COLOR", "TRUST", "STAGE")
)


def main() -> int:
    """The entry of every command: the fast way where it leads, else the full way. Returns the exit status."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("exec", "which", "activate"):
        status = fast(arguments, os.environ)
        if status is not None:
            return status
    from sharedenv.cli.main import main as run_command

    return run_command()


def fast(arguments: "Sequence[str]", environ: "Mapping[str, str]") -> int | None:
    """Does what the command line says and returns the exit status; None where the full way has to. `exec` does not return."""
    if len(arguments) < 2 or any(name.startswith("SHAREDENV_") and name not in _INERT for name in environ):
        return None
    command, words = arguments[0], list(arguments[1:])
    if words[0] == "--no-build":
        del words[0]
    if command == "exec" and words:
        _exec(words[0], words[1:], environ)
    elif command == "which" and words:
        return _which(words, environ)
    elif command == "activate" and len(words) == 1:
        return _activate(words[0], environ)
    return None


def _exec(script: str, arguments: list[str], environ: "Mapping[str, str]") -> None:
    from sharedenv.environ import environ_in

    found = _look_up([script], environ)
    if not found:
        return
    descriptor = _enter(found[0])
    if descriptor is None:
        return
    environment = _near(found[0].environment, environ)
    python = f"{environment}/bin/python"
    os.set_inheritable(descriptor, True)
    try:
        os.execve(python, [python, script, *arguments], environ_in(environment, dict(environ)))
    except OSError:
        os.close(descriptor)  # the full way says what is wrong


def _which(scripts: list[str], environ: "Mapping[str, str]") -> int | None:
    found = _look_up(scripts, environ)
    if found is None:
        return None
    for environment in dict.fromkeys(entry.environment for entry in found):
        try:
            descriptor = os.open(f"{environment}/sharedenv.json", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        fit = _as_built(descriptor, f"{environment}/bin/python")
        os.close(descriptor)
        if not fit:
            return None
    return _write("".join(f"{entry.environment}/bin/python\n" for entry in found))


def _activate(script: str, environ: "Mapping[str, str]") -> int | None:
    from sharedenv.activation import activation, shell_of
    from sharedenv.errors import SharedenvError

    found = _look_up([script], environ)
    if not found or _enter(found[0]) is None:  # held until we end, as long as the full way does
        return None
    environment = found[0].environment
    try:
        name = f"sharedenv {os.path.basename(environment)[:12]}"
        text = activation(_near(environment, environ), shell_of(environ), name)
    except SharedenvError:
        return None
    return _write(text + "\n")


class _Entry:
    """What the index said: ``environment`` (absolute path) for ``fingerprint`` in ``pool``."""

    __slots__ = ("environment", "fingerprint", "pool")

    def __init__(self, pool: str, fingerprint: str, environment: str) -> None:
        self.pool = pool
        self.fingerprint = fingerprint
        self.environment = environment


def _enter(entry: _Entry) -> int | None:
    """Holds an environment that is about to be run, in the order of pool/hold.enter: use noted, held, looked up again."""
    from sharedenv.pool.place import Vanished, hold, indexed, note_use

    environment = entry.environment
    note_use(f"{entry.pool}/used/{os.path.basename(environment)}")
    try:
        descriptor = hold(environment)
    except (Vanished, OSError):
        return None
    if indexed(entry.pool, entry.fingerprint) == environment and _as_built(descriptor, f"{environment}/bin/python"):
        return descriptor
    os.close(descriptor)
    return None


def _near(environment: str, environ: "Mapping[str, str]") -> str:
    """The copy on this node, where SHAREDENV_STAGE has one."""
    if "SHAREDENV_STAGE" not in environ:
        return environment
    from sharedenv.pool.staged import path_to_use

    return path_to_use(environment, environ)


def _as_built(descriptor: int, python: str) -> bool:
    """Whether interpreter and C library are those that the manifest (open) names; else the full way looks closer."""
    try:
        found = os.stat(python)
        text = os.read(descriptor, 1 << 20)
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return False
    identity = f'"identity": "{found.st_size}-{found.st_mtime_ns}"'
    return identity.encode() in text and f'"libc": "{libc}"'.encode() in text


def _look_up(scripts: list[str], environ: "Mapping[str, str]") -> list[_Entry] | None:  # noqa: PLR0911 - each is a way out
    """What the index says of each script; None unless it knows them all and the pool may be trusted."""
    from sharedenv.block import BlockError, find_block
    from sharedenv.fingerprint import fingerprint, surroundings
    from sharedenv.pool.place import indexed
    from sharedenv.pool.trust import Distrust, check_pool, environment_fault

    if any(not script or script.startswith("-") or set(script) & set("*?[") for script in scripts):
        return None
    here = os.getcwd()
    paths = list(dict.fromkeys(os.path.normpath(os.path.join(here, script)) for script in scripts))
    pool = _pool(paths, here, environ)
    if pool is None:
        return None
    try:
        trusted = check_pool(pool, environ)
    except (Distrust, OSError):
        return None
    around = surroundings(os.path.dirname(pool), environ)
    if trusted is None or around is None:
        return None
    found = []
    for path in paths:
        try:
            block = find_block(_read(path))
        except (OSError, BlockError):
            return None
        name = None if block is None else fingerprint(around, block.content, path)
        environment = None if name is None else indexed(pool, name)
        if name is None or environment is None:
            return None
        found.append(_Entry(pool, name, environment))
    faults = [environment_fault(trusted, each, environ) for each in dict.fromkeys(entry.environment for entry in found)]
    return None if any(faults) else found


def _pool(paths: list[str], here: str, environ: "Mapping[str, str]") -> str | None:
    # as pool/layout.find_pool does
    from sharedenv.pool.place import nearest_above

    if chosen := environ.get("SHAREDENV_POOL"):
        pool = os.path.normpath(os.path.join(here, chosen))
        return pool if os.path.exists(f"{pool}/pool.json") else None  # it may stand for the pool in a project's folder
    return nearest_above(os.path.commonpath([os.path.dirname(path) for path in paths])) or nearest_above(here)


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, 1 << 20):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def _write(text: str) -> int | None:
    data = os.fsencode(text)
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        return 141  # 128 + SIGPIPE, as the full way ends
    return 0
