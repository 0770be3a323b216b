"""The versions that one script resolves to, chosen and not installed: for a sharedenv.lock."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sharedenv.build.construct import in_own_tmpdir, prepare
from sharedenv.build.construction import Construction
from sharedenv.build.interpreter import Search, find_interpreter
from sharedenv.build.remedy import Scene, remedy
from sharedenv.build.sources import PackageSource, locate, write_text
from sharedenv.build.uv import TARGETS, UvFailed, resolve_pylock
from sharedenv.build.uv_words import gist, trouble
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.make import admits
from sharedenv.key.plan import Need
from sharedenv.key.uv_inputs import build_inputs
from sharedenv.key.versions import File, Pin, Versions, VersionsError, pins_of_pylock, pip_config, script_text
from sharedenv.pool.files import FOLDER, private
from sharedenv.pool.health import interpreter_version
from sharedenv.pool.held import minor
from sharedenv.script.problems import shown
from sharedenv.secret import redact
from sharedenv.start.regular import open_regular
from sharedenv.start.uv_variables import is_on
from sharedenv.values import frozen

_MINOR = re.compile(r"\d+\.\d+")


@frozen
class Resolver:
    """Chooses the versions of one need; ``kept``: requirements that hold packages where they are."""

    need: Need
    work: Construction
    kept: tuple[str, ...] = ()

    def python(self) -> str:
        """The minor version of the Python that a build would take here. Raises SharedenvError."""
        request = self.need.payload.document["python"]
        if request and _MINOR.fullmatch(request):
            return str(request)
        with self._telling() as source:
            inputs = source.inputs
            work = self.work
            search = Search(
                inputs.requires, inputs.loose, request, work.settings, work.uv, source.environ, source.folder, source.log,
                work.fetches, work.step, work.note,
            )  # fmt: skip
            version = interpreter_version(find_interpreter(search))
            if version is None:
                raise UvFailed("the Python that was found does not start", 1)
            return minor(version)

    def resolve(self, python: str, platform: str, *, fresh: bool) -> Versions:
        """What it installs with a Python of this minor version, on this platform (as in a key). ``fresh``: whatever uv's cache says of
        what there is. Raises SharedenvError.
        """
        with self._telling() as source:
            self._check_python(python)
            project, output = (os.path.join(source.folder, name) for name in ("pyproject.toml", "pylock.toml"))
            write_text(project, script_text(source.inputs.dependencies, source.inputs.options))
            write_text(source.environ["UV_CONFIG_FILE"], pip_config(source.inputs.options, source.inputs.options_around, choosing=True))
            offline = source.offline or is_on(source.environ.get("UV_OFFLINE", ""))
            flags = ["--python-version", python]
            flags += ["--offline"] if offline else ["--refresh"] if fresh else []
            if platform != self.work.settings.platform:
                flags += ["--python-platform", TARGETS[platform]]
            resolve_pylock(source.uv, project, output, flags, source.environ, source.log)
            with open(open_regular(output), encoding="utf-8") as file:
                try:
                    pins = pins_of_pylock(file.read(), source.strip)
                except VersionsError:
                    raise
                except ValueError as error:
                    raise UvFailed(f"uv's pylock.toml: {error}", 2) from None
            return Versions(python, "", tuple(map(_lockable, sorted(pins, key=lambda pin: pin.name))))

    def complete(self, versions: Versions) -> Versions:
        """Versions that are held in the pool, as a lock has them: with the bytes of every package, where its source still has them."""
        with self._telling() as source:
            known = locate([pin for pin in versions.pins if not pin.files], replace(source, python=versions.python))
        pins = [replace(pin, files=known[pin.name][1], record="") if pin.name in known and not pin.files else pin for pin in versions.pins]
        return Versions(versions.python, "", tuple(map(_lockable, pins)))

    @contextmanager
    def _telling(self) -> Iterator[PackageSource]:
        """A source in a folder of its own; what uv says against it is told. Raises SharedenvError."""
        work, need = self.work, self.need
        inputs = build_inputs(need.payload, work.settings, strict=work.options.strict, constraints=self.kept)
        try:
            with in_own_tmpdir(work) as inside:
                folder = os.path.join(inside.environ["TMPDIR"], "lock")
                os.mkdir(folder, FOLDER)
                _, environ = prepare(need, inside, inputs, folder)
                with open(os.path.join(folder, "log"), "x+", encoding="utf-8", errors="surrogateescape", opener=private) as log:
                    yield PackageSource(work.uv, inputs, environ, folder, work.layout.root, "", work.options.offline, log, work.fetches)
        except UvFailed as failure:
            words = redact(failure.words, inputs.secrets)
            if failure.hint is None and (met := trouble(words)) is not None:
                first = shown(need.scripts[0], work.cwd)
                scene = Scene(need, first, None, work.layout, work.uv, work.environ, work.options.offline, "lock")
                raise self._error(*remedy(met, scene)) from None
            raise self._error(gist(words), failure.hint) from None
        except OSError as error:
            raise self._error(f"{error.strerror}: {error.filename or ''}", None) from None

    def _check_python(self, python: str) -> None:
        requires = self.need.payload.document["requires-python"]
        if requires and not any(admits(requires, f"{python}.{patch}") for patch in range(100)):
            raise UvFailed(f"requires-python {requires} does not admit Python {python}", 1)

    def _error(self, cause: str, hint: str | None) -> SharedenvError:
        script = shown(self.need.scripts[0], self.work.cwd)
        return SharedenvError(
            f"can't lock {script}", cause=cause, hint=hint or f"sharedenv key --explain {script}", exit_code=EXIT_BUILD
        )


def staying(versions: Versions, moving: Sequence[str]) -> tuple[str, ...]:
    """What keeps all packages where they are but those that are to move (normal names)."""
    return tuple(f"{pin.name}==={pin.version}" for pin in versions.pins if pin.name not in moving and not (pin.url or pin.git))


def with_sources_of(versions: Versions, before: Versions, moving: Sequence[str]) -> Versions:
    """The same with commits and files as they were, of packages that are not to move."""
    stay = {pin.name: pin for pin in before.pins if pin.name not in moving and (pin.url or pin.git)}
    same = {pin.name: pin for pin in before.pins if pin.name not in moving}
    pins = (stay.get(pin.name) or (same[pin.name] if _is(pin, same.get(pin.name)) else pin) for pin in versions.pins)
    return replace(versions, pins=tuple(pins))


def _is(pin: Pin, other: Pin | None) -> bool:
    return other is not None and other.version == pin.version and bool(other.files)


def _lockable(pin: Pin) -> Pin:
    """A pin as a lock has it: bytes, and where they are had from only where no index knows."""
    files: Iterable[File] = [file for file in pin.files if file.kind == "wheel"] or pin.files
    kind, where = ("archive", pin.url.partition("#")[0]) if pin.url else ("", "")
    bytes_only = {file.sha256: File(kind, where, file.sha256) for file in files}
    return replace(pin, index="", files=tuple(bytes_only[digest] for digest in sorted(bytes_only)), record="" if bytes_only else pin.record)
