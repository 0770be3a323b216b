"""The fast way of `exec`, `which` and `activate`: from a script's bytes to its environment by one link in the pool's index.

It is taken when the command line is plain and the pool has seen the same bytes before; everything else, and every error,
is left to the full way. It starts thousands of times: it imports next to nothing (a test pins the list; posix is built in, and
all that os has to offer but its paths) and looks at few files.
"""

import posix
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
    from sharedenv.environ import own_environ, undo_coercion

    undo_coercion()
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("exec", "which", "activate"):
        try:
            status = fast(arguments, own_environ())
        except Exception:  # the full way tells of it; and a job that evaluates `activate` ends then, by its words
            status = None
        if status is not None:
            return status
    if sys.flags.no_site and "site" not in sys.modules:
        import site

        site.main()  # what the command left out of Python's start (see console-script): packages, sys.prefix, .pth files
    import gc

    gc.set_threshold(50_000)  # what the full way loads is no garbage: else the collector looks at it again and again meanwhile
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
    from fcntl import F_DUPFD, fcntl  # loaded with pool/place

    from sharedenv.environ import environ_in

    found = _look_up([script], environ)
    if not found:
        return
    descriptor = _enter(found[0])
    if descriptor is None:
        return
    environment = _near(found[0].environment, environ)
    python = f"{environment}/bin/python"
    inherited = fcntl(descriptor, F_DUPFD, 3)  # where 0, 1 or 2 is closed, the manifest was given its number
    try:
        posix.execve(python, [python, script, *arguments], environ_in(environment, environ))
    except OSError:
        posix.close(descriptor)  # the full way says what is wrong
        posix.close(inherited)


def _which(scripts: list[str], environ: "Mapping[str, str]") -> int | None:
    found = _look_up(scripts, environ)
    if found is None:
        return None
    for environment in dict.fromkeys(entry.environment for entry in found):
        try:
            descriptor = posix.open(f"{environment}/sharedenv.json", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
        except OSError:
            return None
        fit = _as_built(descriptor, f"{environment}/bin/python")
        posix.close(descriptor)
        if not fit:
            return None
    return _write("".join(f"{entry.environment}/bin/python\n" for entry in found))


def _activate(script: str, environ: "Mapping[str, str]") -> int | None:
    from sharedenv.activation import activation, calling_program, shell_of
    from sharedenv.errors import SharedenvError

    found = _look_up([script], environ)
    if not found or _enter(found[0]) is None:  # held until we end, as long as the full way does
        return None
    environment = found[0].environment
    try:
        name = f"sharedenv {environment.rpartition('/')[2][:12]}"
        text = activation(_near(environment, environ), shell_of(environ, calling_program()), name)
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
    note_use(f"{entry.pool}/used/{environment.rpartition('/')[2]}")
    try:
        descriptor = hold(environment)
    except (Vanished, OSError):
        return None
    if indexed(entry.pool, entry.fingerprint) == environment and _as_built(descriptor, f"{environment}/bin/python"):
        return descriptor
    posix.close(descriptor)
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
        found = posix.stat(python)
        text = posix.read(descriptor, 1 << 20)
        libc = posix.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return False
    identity = f'"identity": "{found.st_size}-{found.st_mtime_ns}"'
    return identity.encode() in text and f'"libc": "{libc}"'.encode() in text


def _look_up(scripts: list[str], environ: "Mapping[str, str]") -> list[_Entry] | None:  # noqa: PLR0911 - each is a way out
    """What the index says of each script; None unless it knows them all and the pool may be trusted."""
    from sharedenv.block import BlockError, find_block
    from sharedenv.fingerprint import fingerprint, read_bytes, surroundings
    from sharedenv.pool.place import indexed
    from sharedenv.pool.trust import Distrust, check_pool, environment_fault

    if not all(map(_is_plain, scripts)):
        return None
    try:
        here = posix.getcwd()
    except OSError:
        return None
    paths = list(dict.fromkeys(_absolute(here, script) for script in scripts))
    pool = _pool(paths, here, environ)
    if pool is None:
        return None
    try:
        trusted = check_pool(pool, environ)
    except (Distrust, OSError):
        return None
    around = surroundings(pool.rpartition("/")[0] or "/", environ)
    if trusted is None or around is None:
        return None
    found = []
    for path in paths:
        try:
            block = find_block(read_bytes(path))
        except (OSError, BlockError):
            return None
        name = None if block is None else fingerprint(around, block.content, path)
        environment = None if name is None else indexed(pool, name)
        if name is None or environment is None:
            return None
        found.append(_Entry(pool, name, environment))
    faults = [environment_fault(trusted, each, environ) for each in dict.fromkeys(entry.environment for entry in found)]
    return None if any(faults) else found


def _is_plain(script: str) -> bool:
    """Whether its letters alone say which file an argument names: no option, no pattern, no `..` behind what may be a link."""
    below = script
    while below.startswith("../"):  # above the current folder, which the kernel names without links
        below = below[3:]
    return bool(script) and not script.startswith("-") and not set(script) & set("*?[") and "/../" not in below


def _pool(paths: list[str], here: str, environ: "Mapping[str, str]") -> str | None:
    # as pool/layout.find_pool does
    from sharedenv.pool.place import nearest_above

    if chosen := environ.get("SHAREDENV_POOL"):
        pool = _absolute(here, chosen)
        try:
            posix.stat(f"{pool}/pool.json")
        except OSError:
            return None  # it may stand for the pool in a project's folder
        return pool
    return nearest_above(_common({path.rpartition("/")[0] for path in paths})) or nearest_above(here)


def _absolute(here: str, path: str) -> str:
    path = path if path.startswith("/") else f"{here}/{path}"
    if "/." not in path and "//" not in path and not path.endswith("/"):
        return path  # nearly all are normal, and os.path is a millisecond
    from os.path import normpath

    return normpath(path)


def _common(folders: set[str]) -> str:
    if len(folders) == 1:
        return folders.pop()
    from os.path import commonpath

    return commonpath([folder or "/" for folder in folders])


def _write(text: str) -> int | None:
    from sharedenv.environ import encoded

    data = encoded(text)
    try:
        while data:
            data = data[posix.write(1, data) :]
    except BrokenPipeError:
        return 141  # 128 + SIGPIPE, as the full way ends
    except OSError:
        return None  # it says what is wrong
    return 0
