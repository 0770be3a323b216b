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
_INERT = frozenset("SHAREDENV_" + name for name in (
    "POOL", "PYTHON", "NO_BUILD", "OFFLINE", "NO_COMPILE", "JOBS", "QUIET", "COLOR", "TRUST", "STAGE",
    "CASE_NUMBER", "CASE_SLOT", "CASE_ATTEMPT", "CASE_RUN", "CASE_LAUNCH",
))  # fmt: skip


def main() -> int:
    """The entry of every command: the fast way where it leads, else the full way. Returns the exit status."""
    from sharedenv.start.environ import own_environ, undo_coercion

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

    status = run_command()
    gc.freeze()  # nor at the end: else the collector looks for garbage in all of it, which takes a tenth of a small command
    return status


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
    from fcntl import F_DUPFD, fcntl  # loaded with start/access

    from sharedenv.start.environ import environ_in

    found = _look_up([script], environ)
    if not found:
        return
    held = _enter(found[0])
    if held is None:
        return
    descriptor, manifest = held
    environment = _near(found[0].environment, environ)
    entries = _first_on_path(manifest, found[0].environment, environment, environ)
    if entries is None:
        posix.close(descriptor)  # the full way makes the folder
        return
    python = f"{environment}/bin/python"
    inherited = fcntl(descriptor, F_DUPFD, 3)  # where 0, 1 or 2 is closed, the manifest was given its number
    try:
        posix.execve(python, [python, script, *arguments], environ_in(environment, environ, entries))
    except OSError:
        posix.close(descriptor)  # the full way says what is wrong
        posix.close(inherited)


def _which(scripts: list[str], environ: "Mapping[str, str]") -> int | None:
    from sharedenv.start.access import MANIFEST, as_built

    found = _look_up(scripts, environ)
    if found is None:
        return None
    for environment in dict.fromkeys(entry.environment for entry in found):
        try:
            descriptor = posix.open(f"{environment}/{MANIFEST}", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
        except OSError:
            return None
        fit = as_built(descriptor, environment)
        posix.close(descriptor)
        if not fit:
            return None
    return _write("".join(f"{entry.environment}/bin/python\n" for entry in found))


def _activate(script: str, environ: "Mapping[str, str]") -> int | None:
    from sharedenv.errors import SharedenvError
    from sharedenv.start.activation import activation, calling_program, shell_of

    found = _look_up([script], environ)
    held = _enter(found[0]) if found else None  # held until we end, as long as the full way does
    if not found or held is None:
        return None
    environment = found[0].environment
    used = _near(environment, environ)
    entries = _first_on_path(held[1], environment, used, environ)
    if entries is None:
        return None
    try:
        name = f"sharedenv {environment.rpartition('/')[2][:12]}"
        text = activation(used, shell_of(environ, calling_program()), name, entries)
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


def _enter(entry: _Entry) -> tuple[int, bytes] | None:
    """Holds an environment that is about to be run: the descriptor and its manifest; None where the full way has to look closer."""
    from sharedenv.start.access import Vanished, as_built, enter, indexed

    try:
        descriptor = enter(entry.pool, entry.environment, lambda: indexed(entry.pool, entry.fingerprint))
    except (Vanished, OSError):
        return None
    if manifest := as_built(descriptor, entry.environment):
        return descriptor, manifest
    posix.close(descriptor)
    return None


def _first_on_path(manifest: bytes, environment: str, used: str, environ: "Mapping[str, str]") -> str | None:
    """What comes before its bin on PATH: a folder, "" for nothing; None where the full way has to make the folder first."""
    from sharedenv.start.access import noted_place

    if used != environment or noted_place(manifest) in ("", environment):
        return ""
    from sharedenv.start.entry_points import folder_for, is_ready, stands_elsewhere

    if not stands_elsewhere(manifest, environment):
        return ""
    folder = folder_for(manifest, environment, environ)
    return folder if is_ready(folder) else None


def _near(environment: str, environ: "Mapping[str, str]") -> str:
    """The copy on this node, where SHAREDENV_STAGE has one."""
    if "SHAREDENV_STAGE" not in environ:
        return environment
    from sharedenv.start.staged import path_to_use

    return path_to_use(environment, environ)


def _look_up(scripts: list[str], environ: "Mapping[str, str]") -> list[_Entry] | None:  # noqa: PLR0911 - each is a way out
    """What the index says of each script; None unless it knows them all and the pool may be trusted."""
    from sharedenv.start.access import indexed
    from sharedenv.start.block import BlockError, find_block
    from sharedenv.start.environ import current_folder
    from sharedenv.start.find_pool import lock_passed_over
    from sharedenv.start.fingerprint import fingerprint, read_script, surroundings
    from sharedenv.start.trust import check_pool, environment_fault

    if not all(map(_is_plain, scripts)):
        return None
    try:
        here = current_folder(environ)
    except OSError:
        return None
    paths = list(dict.fromkeys(_absolute(here, script) for script in scripts))
    pool, link = _pool(paths, here, environ)
    if pool is None:
        return None
    trusted = check_pool(pool, environ, link)
    root = pool.rpartition("/")[0] or "/"
    around = surroundings(root, environ)
    if trusted is None or around is None or lock_passed_over(paths, root):
        return None
    found = []
    for path in paths:
        try:
            data, linked = read_script(path)
            block = find_block(data)
        except (OSError, BlockError):
            return None
        name = None if block is None else fingerprint(around, block.content, path, linked=linked)
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


def _pool(paths: list[str], here: str, environ: "Mapping[str, str]") -> tuple[str | None, posix.stat_result | None]:
    """The pool of scripts, and what lstat says of it where it was asked; None where the full way has to find it."""
    from sharedenv.start.find_pool import Ancestors, made_by_init

    if chosen := environ.get("SHAREDENV_POOL"):
        pool = _absolute(here, chosen)
        try:
            posix.stat(f"{pool}/pool.json")
        except OSError:
            return None, None  # it may stand for the pool in a project's folder
        return pool, None
    ancestors = Ancestors(environ)
    above = {ancestors.of_script(path) or ancestors.of_folder(here) for path in paths}
    # whether the nearest of several is a stray, the full way has to see; and what scripts of several pools have in common
    nearest = {pools[0] if len(pools) == 1 or (pools and made_by_init(pools[0])) else None for pools in above}
    only = nearest.pop() if len(nearest) == 1 else None
    return only, ancestors.links.get(only or "")


def _absolute(here: str, path: str) -> str:
    path = path if path.startswith("/") else f"{here}/{path}"
    if "/." not in path and "//" not in path and not path.endswith("/"):
        return path  # nearly all are normal, and os.path is a millisecond
    from os.path import normpath

    return normpath(path)


def _write(text: str) -> int | None:
    from sharedenv.start.environ import encoded

    data = encoded(text)
    try:
        while data:
            data = data[posix.write(1, data) :]
    except BrokenPipeError:
        return 141  # 128 + SIGPIPE, as the full way ends
    except OSError:
        return None  # it says what is wrong
    return 0
