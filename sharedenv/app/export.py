"""The versions of one environment, for other tools."""

from __future__ import annotations

import os
import shlex
from urllib.parse import quote

from sharedenv.app.project import Project
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.exported import requirements_text
from sharedenv.frozen import frozen
from sharedenv.payload import Payload
from sharedenv.pool.held import folder_packages, held_as_locked, known_versions
from sharedenv.pool.layout import Layout
from sharedenv.pool.store import published
from sharedenv.project_lock import NAME
from sharedenv.report.words import short_path
from sharedenv.start.access import SHORT
from sharedenv.start.environ import current_folder
from sharedenv.versions import Versions, pylock_text

REQUIREMENTS, PYLOCK = "requirements.txt", "pylock.toml"
FORMATS = (REQUIREMENTS, PYLOCK)


@frozen
class Exported:
    """``name``: what the user calls it (a script or a key); ``folders``: packages from a folder of this machine."""

    layout: Layout
    name: str
    platform: str
    versions: Versions
    folders: tuple[str, ...] = ()

    def text(self, form: str) -> str:
        """The file, in one of FORMATS. Raises SharedenvError for what that can't say."""
        if form == REQUIREMENTS:
            where = f"Python {self.versions.python} on {self.platform}"
            head = f"sharedenv export {self.name}: versions {self.versions.digest[:SHORT]}, for {where}"
            return requirements_text(self.versions, head, self._restore, self.folders)
        unknown = [f"{pin.name} {pin.version}" for pin in self.versions.pins if pin.folder or not pin.is_known]
        if unknown:
            raise SharedenvError(
                f"can't write {self.name} as {PYLOCK}: it needs the file of every package",
                cause=f"not known here: {', '.join(unknown)}",
                hint=f"sharedenv export --format {REQUIREMENTS} {shlex.quote(self.name)}",
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
        raise SharedenvError(
            f"no versions of {script} are known: it was neither built nor locked", hint=f"sharedenv build {script}", exit_code=EXIT_FAILED
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
    return Exported(layout, name, payload.document["platform"], versions, folders)
