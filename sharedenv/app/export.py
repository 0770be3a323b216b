"""The versions of one environment, for other tools."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from functools import partial
from urllib.parse import quote

from sharedenv.app.project import Project
from sharedenv.errors import EXIT_FAILED, EXIT_USAGE, SharedenvError
from sharedenv.key.exported import requirements_text
from sharedenv.key.payload import Payload
from sharedenv.key.project_lock import NAME
from sharedenv.key.versions import Versions, pylock_text
from sharedenv.pool.held import folder_packages, held_as_locked, known_versions
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import ManifestError, read_manifest
from sharedenv.pool.store import generations, published
from sharedenv.report.words import first_names, printable, short_path
from sharedenv.run.journal.run import Run
from sharedenv.run.sets import SetUsed, sets_used
from sharedenv.start.access import SHORT
from sharedenv.start.environ import current_folder
from sharedenv.values import frozen

REQUIREMENTS, PYLOCK = "requirements.txt", "pylock.toml"
FORMATS = (REQUIREMENTS, PYLOCK)


@frozen
class Exported:
    """What one environment installs.

    words     what the user calls it: the arguments of `export`
    platform  "" where nothing tells it any more
    folders   names of packages from a folder of this machine
    """

    layout: Layout
    words: tuple[str, ...]
    platform: str
    versions: Versions
    folders: tuple[str, ...] = ()

    def text(self, form: str) -> str:
        """The file, in one of FORMATS. Raises SharedenvError for what that can't say."""
        if form == REQUIREMENTS:
            where = f"Python {self.versions.python}{f' on {self.platform}' if self.platform else ''}"
            head = f"sharedenv export {printable(shlex.join(self.words))}: versions {self.versions.digest[:SHORT]}, for {where}"
            return requirements_text(self.versions, head, self._restore, self.folders)
        unknown = [f"{pin.name} {pin.version}" for pin in self.versions.pins if pin.folder or not pin.is_known]
        if unknown:
            raise SharedenvError(
                f"can't write {printable(shlex.join(self.words))} as {PYLOCK}: it needs the file of every package",
                cause=f"not known here: {', '.join(unknown)}",
                hint=shlex.join(["sharedenv", "export", "--format", REQUIREMENTS, *self.words]),
                exit_code=EXIT_FAILED,
            )
        return pylock_text(self.versions, self._restore, requires=f"=={self.versions.python}.*")

    def _restore(self, url: str) -> str:
        return f"file://{quote(self.layout.root)}{url[1:]}" if url.startswith("./") else url


def of_script(project: Project, name: str) -> Exported:
    """What one script's environment installs: by sharedenv.lock, else as the pool holds it. Raises BadScripts, SharedenvError."""
    [need] = project.plan(project.paths).needs.values()
    payload, layout = need.payload, project.layout
    locked = payload.aside.versions if NAME in payload.document else None
    versions = held_as_locked(layout, payload, locked) if locked is not None else known_versions(layout, payload, name)
    if versions is None:
        script = shlex.quote(short_path(need.scripts[0], current_folder(os.environ)))
        build = shlex.join(["sharedenv", "build", *project.options])
        raise SharedenvError(
            f"no versions of {script} are known: it was neither built nor locked", hint=f"{build} {script}", exit_code=EXIT_FAILED
        )
    return _exported(layout, name, payload, versions)


def of_payload(layout: Layout, name: str, payload: Payload) -> Exported:
    """What an environment of the pool installs. Raises SharedenvError."""
    versions = known_versions(layout, payload)
    if versions is None:
        raise SharedenvError(f"no versions of {name} are known", hint=f"sharedenv show {name}", exit_code=EXIT_FAILED)
    return _exported(layout, name, payload, versions)


def _exported(layout: Layout, name: str, payload: Payload, versions: Versions) -> Exported:
    environment = published(layout, payload.key)
    folders = tuple(folder_packages(environment)) if environment else ()
    return Exported(layout, (name,), payload.document["platform"], versions, folders)


def of_run(layout: Layout, run: Run, name: str | None) -> Exported:
    """What a run was computed with. Where those are several sets, ``name`` says which: the beginning of the digest of its versions, or
    a script that was computed with it. Raises SharedenvError.
    """
    cases = run.cases()
    try:
        used = sets_used(run.path, cases, run.results())
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        raise SharedenvError(f"the versions of run {run.id} can't be read", cause=cause, exit_code=EXIT_FAILED) from None
    one = _meant(run, [one for one in used if one.cases] or used, name)
    if one.versions is None:
        cause = "the file that says what is in them is gone or damaged"
        raise SharedenvError(f"no versions {one.digest[:SHORT]} are known", cause=cause, hint=_look(run), exit_code=EXIT_FAILED)
    words = ("--run", run.id, *([name] if name else []))
    folders = tuple(pin.name for pin in one.versions.pins if pin.folder)
    return Exported(layout, words, _platform(layout, run.asked.keys), one.versions, folders)


def _meant(run: Run, used: list[SetUsed], name: str | None) -> SetUsed:
    here = current_folder(os.environ)
    if name is not None:
        script = os.path.normpath(os.path.join(here, name))
        found = [one for one in used if one.digest.startswith(name) or any(case.script == script for case in one.cases)]
        if used and not found:
            raise SharedenvError(
                f"no results of run {run.id} go by {printable(name)}",
                cause="it takes the beginning of a digest of versions, or a script that has a result",
                hint=_look(run),
                exit_code=EXIT_USAGE,
            )
        used = found
    if not used:
        cause = "none of its scripts has a result yet, or an older sharedenv computed them"
        hint = f"sharedenv status {run.id}"
        raise SharedenvError(f"no versions of run {run.id} are known", cause=cause, hint=hint, exit_code=EXIT_FAILED)
    if len(used) > 1:
        named = [(one.digest[:SHORT], first_names([case.script for case in one.cases], partial(short_path, cwd=here))) for one in used]
        raise SharedenvError(
            f"run {run.id} has {len(used)} sets of versions, and a file can say one",
            cause="\n".join(f"{digest}: {names or 'no result yet'}" for digest, names in named),
            hint=f"sharedenv export --run {run.id} {used[0].digest[:SHORT]}",
            exit_code=EXIT_USAGE,
        )
    return used[0]


def _look(run: Run) -> str:
    return f"sharedenv show --run {run.id}"


def _platform(layout: Layout, keys: Iterable[str]) -> str:
    """The platform of a run, by any of its environments that is still there."""
    for path in (path for key in keys for path in generations(layout, key)):
        try:
            return str(read_manifest(path).payload.document["platform"])
        except ManifestError:
            continue
    return ""
