"""One environment from its payload, complete and checked, in a staging folder."""

from __future__ import annotations

import os
import re
import tempfile
import time
from ast import literal_eval
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING

from sharedenv.build.construction import Construction, below
from sharedenv.build.exact import check_held, constraints, digest_of, find_held, not_held, pin, source_of, sync_held
from sharedenv.build.follow import following
from sharedenv.build.interpreter import Search
from sharedenv.build.left import PREFIX, clear_left
from sharedenv.build.locked import locked_script
from sharedenv.build.options import BuildOptions
from sharedenv.build.sources import PackageSource
from sharedenv.build.uv import Uv, UvFailed, environment_for_uv, make_venv, sync_script
from sharedenv.build.uv_words import could_not_link
from sharedenv.errors import SharedenvError
from sharedenv.key.make import admits, maker
from sharedenv.key.plan import Need, make_plan
from sharedenv.key.requires_python import in_order
from sharedenv.key.uv_inputs import Inputs, build_inputs
from sharedenv.key.versions import Versions
from sharedenv.pool.create import way_out
from sharedenv.pool.files import private
from sharedenv.pool.health import VERSION
from sharedenv.pool.staging import VENV, sign
from sharedenv.pool.store import remove_tree
from sharedenv.process import beside, capture, limit_error
from sharedenv.secret import redact
from sharedenv.start.access import SHORT, VERSIONS, identity
from sharedenv.start.regular import read_regular
from sharedenv.start.trust import is_shared
from sharedenv.start.uv_variables import is_on
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.build.seal import Installed, Probed

#: what the interpreter of a fresh environment tells about itself
_PROBE = VERSION + """\
import os
base = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except ValueError:
    import platform
    libc = " ".join(platform.libc_ver()).strip()
print(ascii((base, version, sys.implementation.name, libc or "")))
"""


#: for uv where another build has just found no way to a host: one try, which ends soon
_BRIEF = {"UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": "2"}

COMPILED = ">=3.7"  #: the versions of Python that uv can compile bytecode for


@frozen
class Built:
    """A staged environment, complete and checked: `seal` for a place, and the versions in it (None: they are not held)."""

    settle: Callable[[str], str]
    versions: Versions | None


def construct(need: Need, work: Construction, folder: str, held: Versions | None = None) -> Built:
    """Builds the environment of ``need`` in a staging folder, complete and checked; what is left is `seal`, for a place.

    ``held``: what it installs, and nothing else; with an upgrade, what stays as it was where packages to move are named.
    Raises SharedenvError with uv's own words; all that uv said is in logs/.
    """
    kept = constraints(held, work.options) if held else ()
    inputs = build_inputs(need.payload, work.settings, strict=work.options.strict, constraints=kept)
    log_path = os.path.join(work.layout.logs, f"{need.payload.key[:SHORT]}.log")
    try:
        with _new_log(log_path) as log, in_own_tmpdir(work) as inside:
            try:
                return _install(need, inside, inputs, folder, log, held)
            finally:
                _redact_log(log, inputs.secrets)
    except UvFailed as failure:
        from sharedenv.build.build_error import failed_build  # noqa: PLC0415 - what uv's words can mean is much to load

        raise failed_build(failure, need, work, inputs.secrets, held, log_path) from None
    except OSError as error:
        from sharedenv.build.build_error import build_error  # noqa: PLC0415 - as above

        limit = limit_error(error)
        hint = limit.hint if limit else way_out(work.layout, error)
        raise build_error(need, work, f"{error.strerror}: {error.filename or folder}", None, hint) from None


@contextmanager
def in_own_tmpdir(work: Construction) -> Iterator[Construction]:
    """The same with a TMPDIR that goes when it is done: uv leaves a lock file there for every path it ever syncs. Raises OSError."""
    clear_left(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        sign(folder)
        yield replace(work, environ={**work.environ, "TMPDIR": folder})


def _new_log(path: str) -> IO[str]:
    try:
        os.unlink(path)  # in a shared pool the last one may be a colleague's
    except FileNotFoundError:
        pass
    return open(path, "x+", encoding="utf-8", errors="surrogateescape", opener=private)


def _install(need: Need, work: Construction, inputs: Inputs, folder: str, log: IO[str], held: Versions | None) -> Built:
    started = time.time()
    exact = None if work.options.upgrade else held
    script, environ = prepare(need, work, inputs, folder)
    beside(_load)
    for text in inputs.told:
        work.note(text)
    python = find_held(held, _search(inputs, need.payload.document["python"], work, environ, folder, log), work.options)
    shared = is_shared(work.layout.path)
    flags = _sync_flags(inputs, work.options, shared)
    source = source_of(work.uv, inputs, environ, folder, work.layout.root, python, work.options.offline, log, work.fetches)
    install = _Install(
        folder, script, python, need.payload.document["requires-python"], inputs.loose, flags, environ, log, exact, source
    )
    try:
        installed, versions, altered = _attempt(install, work)
    except UvFailed as failed:
        if not could_not_link(failed.words):
            raise
        log.write("a file of uv's cache takes no more names; installing again, by copying\n")
        remove_tree(os.path.join(folder, VENV))
        install = replace(install, flags=(*install.flags, "--link-mode", "copy"))
        installed, versions, altered = _attempt(install, work)
    if altered:
        some = f"{altered[0]} and {len(altered) - 1:,} more" if len(altered) > 1 else altered[0]
        if work.options.offline:
            raise UvFailed(f"uv's cache has been changed: {some} is not what its wheel says\n"
                           "(an edit in any environment that shares files with the cache does this: `uv cache clean`)", 2)
        log.write(f"not what its wheel says: {some}; installing again, past uv's cache\n")
        remove_tree(installed.venv)
        # what differs after that is so in the wheel itself: the list of files in some is wrong
        installed, versions, _ = _attempt(replace(install, flags=(*install.flags, "--no-cache")), work)
    if inputs.in_place and _has_changed(script, need, work):
        raise UvFailed(f"{script} or its lock file was changed while the environment was built", 1)
    scripts = tuple(below(work.layout.root, path) for path in need.scripts[:3])
    notes = {**inputs.notes, VERSIONS: digest_of(installed)}
    from sharedenv.build.seal import Circumstances, seal  # noqa: PLC0415 - loaded while uv was at work

    how = Circumstances(work.uv.version, started, scripts, len(need.scripts), notes, shared)
    if exact is None and not_held(need.payload) is None:
        work.step("holding the versions")
        versions = pin(installed, source, started)
    return Built(partial(seal, installed, need.payload, how), versions)


def prepare(need: Need, work: Construction, inputs: Inputs, folder: str) -> tuple[str, dict[str, str]]:
    """Writes what uv is given into a staging folder; the script to sync, and the environment to do it in."""
    config = os.path.join(folder, "uv.toml")
    _write_file(config, inputs.config.encode())
    script = locked_script(need.scripts[0]) if inputs.in_place else _write_script(folder, inputs)
    brief = _BRIEF if work.fetches.cut_off else {}
    return script, environment_for_uv(work.environ, {**inputs.variables, **brief, "UV_CONFIG_FILE": config})


def _has_changed(script: str, need: Need, work: Construction) -> bool:
    """Whether a script that uv was given as it lies, or its lock file, is no longer what the key was made of."""
    try:
        return make_plan([script], maker(work.settings)).scripts[0][1] != need.payload.key
    except SharedenvError:
        return True


def _write_script(folder: str, inputs: Inputs) -> str:
    script = os.path.join(folder, "script.py")
    _write_file(script, inputs.script.encode())
    if inputs.lock is not None:
        _write_file(script + ".lock", inputs.lock)
    return script


@frozen
class _Install:
    """One `uv sync`, or `uv pip sync` of what is held, to be: where, with which interpreter, with which flags."""

    folder: str
    script: str
    python: str
    requires: str
    loose: str | None  # the same as it may be read
    flags: tuple[str, ...]
    environ: Mapping[str, str]
    log: IO[str]
    exact: Versions | None  # what to install in place of what the script resolves to
    source: PackageSource


def _attempt(install: _Install, work: Construction) -> tuple[Installed, Versions | None, list[str]]:
    """Installs, and tells what is held of that, and which files are not what their wheels say."""
    folder, environ, log = install.folder, install.environ, install.log
    venv = os.path.join(folder, VENV)
    if not os.path.lexists(venv):  # else it was made by who found its Python
        make_venv(work.uv, install.python, venv, environ, folder, log)
    probing = beside(lambda: work.fetches.find(_interpreter(venv), lambda: _probe(venv, environ)))  # while uv is at work
    version = _noted_version(venv) or probing().version
    _check_version(version, install)
    work.step("resolving" if install.exact is None else "installing")
    flags = list(install.flags)
    if "--compile-bytecode" in flags and not admits(COMPILED, version):
        flags[flags.index("--compile-bytecode")] = "--no-compile-bytecode"
        work.warn(f"no bytecode is compiled: uv can't for Python {version}; first imports are slower")
    versions = None
    try:
        with following(log, work.step):
            if install.exact is None:
                _sync(install, work.uv, venv, flags)
            else:
                versions = sync_held(install.exact, install.source, venv, flags, version)
    finally:
        probed = probing()  # a Python that does not start is why uv fails, too
    if probed.version != version:
        _check_version(probed.version, install)
    work.step("checking")
    from sharedenv.build.look_over import look_over  # noqa: PLC0415 - loaded while uv was at work

    installed, altered = look_over(venv, probed)
    if versions is not None:
        check_held(versions, installed)
    return installed, versions, altered


def _load() -> None:
    """Loads what an environment is looked over and sealed with."""
    import ctypes  # noqa: F401, PLC0415 - pool/files asks for it when all is written

    import sharedenv.build.look_over  # noqa: F401, PLC0415 - while uv is at work, this process has nothing else to do


def _sync(install: _Install, uv: Uv, venv: str, flags: list[str]) -> None:
    """Installs what the script needs, and of local packages what they are now, those too that only another local one asks for.

    uv looks at no more than pyproject.toml, setup.py and setup.cfg before it takes what it built of a folder last time.
    """
    from sharedenv.pool.check import clear_bytecode  # noqa: PLC0415 - loaded while uv was at work
    from sharedenv.pool.dist_info import local_packages  # noqa: PLC0415 - as above

    wanted, known = set(install.source.inputs.local), set[str]()
    while True:
        more = [word for name in sorted(wanted - known) for word in ("--reinstall-package", name)]
        sync_script(uv, install.script, venv, [*flags, *more], install.environ, install.folder, install.log)
        known |= wanted
        wanted = {package.name for package in local_packages(venv)}
        if wanted <= known:
            return
        clear_bytecode(venv)


def _sync_flags(inputs: Inputs, options: BuildOptions, shared: bool) -> tuple[str, ...]:
    flags = ["--compile-bytecode"] if options.compile else ["--no-compile-bytecode"]
    if inputs.lock is not None:
        flags.append("--locked")
    if options.offline:
        flags.append("--offline")
    if options.upgrade and not (options.offline or is_on(inputs.variables.get("UV_OFFLINE", ""))):
        flags.append("--refresh")  # uv refuses it where it may ask nobody
    if shared:
        # files of uv's cache belong to one user and are readable as that user's umask has it: others get copies
        flags += ["--link-mode", "copy"]
    return tuple(flags)


def _redact_log(log: IO[str], hidden: tuple[str, ...]) -> None:
    if not hidden:
        return
    log.seek(0)
    text = redact(log.read(), hidden)
    log.seek(0)
    log.truncate()
    log.write(text)


def _search(inputs: Inputs, request: str | None, work: Construction, environ: Mapping[str, str], folder: str, log: IO[str]) -> Search:
    if work.options.offline:
        environ = {**environ, "UV_OFFLINE": "1"}
    return Search(
        inputs.requires, inputs.loose, request, work.settings, work.uv, environ, folder, log, work.fetches, work.step, work.note,
        venv=os.path.join(folder, VENV),
    )  # fmt: skip


def _interpreter(venv: str) -> Hashable:
    """All that decides what the Python of a new environment tells of itself: two with the same are one Python."""
    python = os.path.join(venv, "bin", "python")
    return os.path.realpath(python), identity(os.stat(python)), read_regular(os.path.join(venv, "pyvenv.cfg"))


def _noted_version(venv: str) -> str:
    """The version of its Python, as uv has noted it in a new environment; "" where it has not."""
    found = re.search(r"^version_info = (\S+)$", read_regular(os.path.join(venv, "pyvenv.cfg")).decode(errors="replace"), re.MULTILINE)
    return found[1] if found else ""


def _probe(venv: str, environ: Mapping[str, str]) -> Probed:
    python = os.path.join(venv, "bin", "python")
    done = capture([python, "-I", "-S", "-c", _PROBE], env=environ)
    if done.status != 0:
        raise UvFailed(f"the new environment's Python does not start (status {done.status})\n{done.stderr.strip()}", 1)
    from sharedenv.build.seal import Probed  # noqa: PLC0415 - as above

    return Probed(*literal_eval(done.stdout))


def _check_version(version: str, install: _Install) -> None:
    """Raises UvFailed where requires-python does not admit it: uv only warns when an explicit request contradicts that."""
    requires = install.requires
    if requires and not any(admits(reading, version) for reading in (requires, install.loose or requires)):
        raise UvFailed(f"Python {version} was asked for, and requires-python {in_order(requires)} does not admit it", 1)


def _write_file(path: str, data: bytes) -> None:
    with open(path, "wb", opener=private) as file:
        file.write(data)
