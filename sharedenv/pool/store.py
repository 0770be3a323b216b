"""The pool's contents: look up, publish, list, discard. Nothing here builds, and nothing here waits."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import field

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.payload import Aside, Payload
from sharedenv.key.requires_python import loose_reading
from sharedenv.pool.files import sync_folder, sync_tree
from sharedenv.pool.health import completeness, health, openness
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import Manifest, ManifestError, read_manifest
from sharedenv.start import access
from sharedenv.start.access import SHORT, is_name
from sharedenv.start.trust import environment_fault
from sharedenv.values import frozen


@frozen
class Environment:
    """One published environment: its absolute path and its manifest."""

    path: str
    manifest: Manifest = field(repr=False)

    @property
    def name(self) -> str:
        """`<key12>-<n>`."""
        return os.path.basename(self.path)

    @property
    def key(self) -> str:
        """All 64 digits."""
        return self.manifest.payload.key

    @property
    def reading(self) -> str | None:
        """How its requires-python was read, where its Python does not meet that to the letter: for the user."""
        return loose_reading(self.manifest.payload.document["requires-python"], self.manifest.interpreter.version)

    @property
    def python(self) -> str:
        """Its interpreter: what scripts are run with."""
        return os.path.join(self.path, "bin", "python")

    @property
    def python_version(self) -> str:
        """Such as 3.11.7."""
        return self.manifest.interpreter.version

    @property
    def versions(self) -> dict[str, str]:
        """Package → its version; names in the normal form of PEP 503."""
        return {package.name: package.version for package in self.manifest.packages}


@frozen
class Unusable:
    """An environment that is there and must not be used: its path and why, in words for the user."""

    path: str
    reason: str


#: why an environment of which uv would install something else now is built anew
DRIFTED = "its sources have changed"


def look_up(layout: Layout, payload: Payload, *, strict: bool = False) -> Environment | Unusable | None:
    """The published environment of a payload: None when there is none, Unusable when it must not be run.

    ``strict``: its Python meets requires-python to the letter. The pool itself is trusted (trust.check_pool). What only a
    walk finds is `inspect`'s, what only reading every byte finds is verify's.
    """
    path = published(layout, payload.key)
    if path is not None and not os.path.isdir(path):
        access.refresh(layout.envs)
    if path is None or not os.path.isdir(path):
        return None
    found = examine(layout, path)
    if isinstance(found, Environment) and found.manifest.payload.text != payload.text:
        return Unusable(path, "its manifest names another payload")
    if strict and isinstance(found, Environment) and (reading := found.reading):
        return Unusable(path, reading)
    return found


def inspect(layout: Layout, payload: Payload, *, strict: bool = False) -> Environment | Unusable | None:
    """As look_up, and every entry that was built is there and none else: what is asked before building, once a command.

    And the local sources are as they were of those packages that the script wants to be installed again each time.
    """
    found = look_up(layout, payload, strict=strict)
    if isinstance(found, Environment):
        reason = completeness(found.path, found.manifest) or openness(found.path) or _edited(found.path, payload)
        return Unusable(found.path, reason) if reason else found
    return found


def _edited(path: str, payload: Payload) -> str | None:
    wanted = payload.late.reinstall if isinstance(payload.late, Aside) else ()  # a block with options is always read
    if wanted == ():
        return None
    from sharedenv.pool.dist_info import edited  # noqa: PLC0415 - few scripts ask for it

    changed = edited(path, wanted)
    return f"{changed} was edited since (the script says {'reinstall' if wanted is None else 'reinstall-package'})" if changed else None


def examine(layout: Layout, path: str) -> Environment | Unusable:
    """The environment at a path of this pool, if it may be run: it is ours, its manifest can be read, its Python is there."""
    try:
        if fault := environment_fault(os.stat(layout.path), path, os.environ):
            return Unusable(path, fault)
        manifest = read_manifest(path)
    except ManifestError as error:
        return Unusable(path, str(error))
    except OSError as error:
        return Unusable(path, f"it can't be looked at: {error.strerror}")
    if not manifest.payload.key.startswith(os.path.basename(path)[:SHORT]):
        return Unusable(path, f"its manifest is that of another environment, {manifest.payload.key[:SHORT]}")
    reason = health(path, manifest)
    return Environment(path, manifest) if reason is None else Unusable(path, reason)


def published(layout: Layout, key: str) -> str | None:
    """Path of the environment that a key is linked to, or None. A link that leads anywhere but envs/ counts as none."""
    path = access.published(layout.path, key)
    # a link in place of the environment would lead out of the pool
    return None if path is None or os.path.islink(path) else path


def environments(layout: Layout) -> Iterator[Environment | Unusable]:
    """Every folder in envs/, published or not, by name."""
    return (examine(layout, path) for path in generations(layout, ""))


def generations(layout: Layout, key: str) -> list[str]:
    """Paths of the environments built for a key (or for keys that begin alike), oldest first; all of them for ""."""
    try:
        with os.scandir(layout.envs) as entries:
            # a link in the place of an environment would lead out of the pool: it is none
            names = [entry.name for entry in entries if is_name(entry.name) and entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    names = [name for name in names if name.startswith(key[:SHORT])]
    return [os.path.join(layout.envs, name) for name in sorted(names, key=lambda name: (name[:SHORT], int(name[13:])))]


def publish(
    layout: Layout, settle: Callable[[str], str], payload: Payload, *, replace: bool, number: int | None = None
) -> Environment:
    """Moves a complete staged environment, once it is on disk, into envs/ and links its key to it, each by one atomic call.

    ``settle`` makes it ready for the place that it is given, and tells where it is staged (see seal). ``number``: of the
    generation, where that is free; else it is the next.
    With ``replace`` the link is turned from an older generation to this one; without, the first link wins, and the
    loser of a race discards its own environment and returns the winner's. Raises OSError, and SharedenvError when what is
    published can't be read.
    """
    path = _move_into(layout, settle, payload.key, number)
    link = os.path.join(layout.keys, payload.key)
    target = f"../envs/{os.path.basename(path)}"
    if not replace:
        try:
            os.symlink(target, link)
        except (FileExistsError, PermissionError):
            if not os.path.lexists(link):  # who is too late on sshfs reads EPERM as often as EEXIST
                raise
            winner = look_up(layout, payload)
            # a link that led nowhere may lead to ours now
            if isinstance(winner, Environment) and winner.path != path:
                discard(layout, path)
                return winner
            replace_link(layout, link, target)
    else:
        replace_link(layout, link, target)
    sync_folder(layout.envs)
    sync_folder(layout.keys)
    try:
        return Environment(path, read_manifest(path))
    except ManifestError as error:
        hint = f"sharedenv verify {os.path.basename(path)}"
        raise SharedenvError("what was just built can't be read", cause=f"{path}: {error}", hint=hint, exit_code=EXIT_BUILD) from None


def adopt(layout: Layout, payload: Payload, fits: Callable[[Manifest], bool]) -> Environment | None:
    """Publishes a complete environment whose builder was killed between its two last steps, if there is one.

    ``fits``: whether it is one that may be published now, by its manifest.
    """
    for path in reversed(generations(layout, payload.key)):
        found = examine(layout, path)
        if (
            isinstance(found, Environment)
            and found.manifest.payload.text == payload.text
            and fits(found.manifest)
            and completeness(path, found.manifest) is None
        ):
            with contextlib.suppress(PermissionError):  # a colleague's: then nobody but them can write there anyway
                _protect(path)
            replace_link(layout, os.path.join(layout.keys, payload.key), f"../envs/{found.name}")
            return found
    return None


def replace_link(layout: Layout, link: str, target: str) -> None:
    """Makes ``link`` lead to ``target`` by one rename, whatever it led to before."""
    temporary = os.path.join(layout.tmp, f"link-{os.urandom(8).hex()}")
    os.symlink(target, temporary)
    try:
        os.replace(temporary, link)
    except IsADirectoryError:
        discard(layout, link)  # a copy of the pool that followed its links made folders of them
        os.replace(temporary, link)


def enter(layout: Layout, environment: Environment) -> int:
    """Holds an environment that has just been looked up and is about to be run, see start/access. Raises Vanished, OSError."""
    return access.enter(layout.path, environment.path, lambda: published(layout, environment.key))


def discard(layout: Layout, path: str) -> None:
    """Removes a folder of the pool: renamed into trash/ at one stroke, then deleted; what is left there, prune takes."""
    if bury(layout, path) is not None:
        remove_tree(path)


def bury(layout: Layout, path: str) -> str | None:
    """Renames a folder of the pool into trash/, where it can be, and deletes it. Why it stays where it is, in words, or None."""
    grave = os.path.join(layout.trash, f"{os.path.basename(path)}-{os.urandom(4).hex()}")
    try:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        os.chmod(path, mode | 0o700)  # the folder itself must be writable to be renamed
        try:
            os.rename(path, grave)
        except BaseException:
            os.chmod(path, mode)
            raise
    except OSError as error:
        if not os.path.lexists(path):
            return None  # somebody else was faster
        if error.errno == errno.EXDEV:  # it is in the lower layer of an overlay, whose folders can't be renamed
            remove_tree(path)
            return "it can't be removed" if os.path.lexists(path) else None
        return f"it can't be moved to trash/: {error.strerror}"
    remove_tree(grave)
    return None


def remove_tree(path: str) -> None:
    """Deletes a tree whose folders may be read-only. What can't be deleted stays, without a word."""
    import shutil  # noqa: PLC0415 - it loads three compressors, and a run with a full pool removes nothing

    for folder, _, _ in os.walk(path, onerror=lambda error: _make_writable(error.filename)):
        _make_writable(folder)
    shutil.rmtree(path, ignore_errors=True)


def _move_into(layout: Layout, settle: Callable[[str], str], key: str, wanted: int | None) -> str:
    taken = {int(os.path.basename(path)[13:]) for path in generations(layout, key)}
    number = max(taken, default=0) + 1 if wanted is None or wanted in taken else wanted
    while True:
        path = os.path.join(layout.envs, f"{key[:SHORT]}-{number}")
        try:
            staged = settle(path)
            sync_tree(staged)
            os.rename(staged, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            number += 1  # somebody else's build took the number, or something that is no folder stands there
        else:
            _protect(path)
            return path


def _protect(path: str) -> None:
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & 0o555)


def _make_writable(path: str) -> None:
    try:
        if not os.path.islink(path):
            os.chmod(path, 0o700)
    except OSError:
        pass

