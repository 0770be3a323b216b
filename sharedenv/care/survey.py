"""Everything that lies in envs/, with what leads to it, and what is packed. A look from outside: nothing is started, no lock taken."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator

from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import Manifest, ManifestError, read_manifest
from sharedenv.pool.store import published
from sharedenv.start.access import SHORT, again, is_name
from sharedenv.values import frozen


@frozen
class Surveyed:
    """One entry of envs/, or one archive of packed/.

    name              `<key12>-<n>`
    key               all 64 digits; None when neither a manifest nor a link tells it
    published         its key leads to it
    replaced_by       name of the generation that its key leads to instead
    index             fingerprints that lead to it
    bytes             as its manifest has it; 0 without one. Of one that is packed, those of the archive
    last_use          seconds since the epoch, the build counts; None when nothing tells
    noted             time of its note in used/, None without one
    doubt             why nothing may be concluded from what was seen, in words for the user
    held_by_manifest  it has a manifest, whose lock says whether it is in use
    packed            it is an archive: a build unpacks it
    """

    name: str
    path: str
    key: str | None
    manifest: Manifest | None
    published: bool
    replaced_by: str | None
    index: tuple[str, ...]
    bytes: int
    last_use: float | None
    noted: float | None
    doubt: str | None
    held_by_manifest: bool
    packed: bool = False

    @property
    def current(self) -> bool:
        """Whether it is what its key has: published, or to be unpacked when it is wanted."""
        return self.published or self.packed

    @property
    def remark(self) -> str:
        """Why nothing more is started in it, for a line that names it; "" for one that is published."""
        if self.packed:
            return " (packed)"
        return "" if self.published else f" (replaced by {self.replaced_by})" if self.replaced_by else " (no key leads to it)"

    def note_time(self, layout: Layout) -> float | None:
        """The time of its note in used/ as it is now."""
        return _time_of(os.path.join(layout.used, self.name))


def survey(layout: Layout) -> list[Surveyed]:
    """Every entry of envs/, and every archive of packed/ that stands for one, by name."""
    keys = {os.path.basename(path): key for key, path in _published(layout)}
    index: dict[str, list[str]] = {}
    for fingerprint, name in _links(layout.index):
        index.setdefault(name, []).append(fingerprint)
    try:
        names = set(os.listdir(layout.envs))
    except FileNotFoundError:
        names = set()
    found = [_look(layout, name, keys, tuple(index.get(name, ()))) for name in names]
    there = {item.key for item in found if item.published}
    # an archive beside what it was made of, which a kill has left, counts for nothing
    found += [item for item in _packed(layout) if item.key not in there and item.name not in names]
    return sorted(found, key=lambda item: item.name)


def _packed(layout: Layout) -> Iterator[Surveyed]:
    if not os.path.isdir(layout.packed):
        return
    from sharedenv.pool.packed import all_packed  # noqa: PLC0415 - it loads what reads archives

    for each in all_packed(layout):
        yield Surveyed(
            name=each.name,
            path=each.path,
            key=each.manifest.payload.key if each.manifest is not None else None,
            manifest=each.manifest,
            published=False,
            replaced_by=None,
            index=(),
            bytes=each.bytes,
            last_use=each.last_use,
            noted=None,
            doubt=each.doubt,
            held_by_manifest=False,
            packed=True,
        )


def _look(layout: Layout, name: str, keys: dict[str, str], index: tuple[str, ...]) -> Surveyed:
    path = os.path.join(layout.envs, name)
    manifest, doubt, has_manifest = None, None, True
    if not is_name(name) or os.path.islink(path) or not os.path.isdir(path):
        doubt, has_manifest = "it is no environment of this pool: look at it, and remove it by hand", False
    else:
        try:
            manifest = read_manifest(path)
        except ManifestError as error:
            doubt = error.doubt
            has_manifest = not error.gone
    key = manifest.payload.key if manifest is not None and manifest.payload.key.startswith(name[:SHORT]) else keys.get(name)
    doubt = doubt or (_doubt_of_link(os.path.join(layout.keys, key)) if key is not None else None)
    leads_to = published(layout, key) if key is not None else None
    current = os.path.basename(leads_to) if leads_to is not None and os.path.isdir(leads_to) else None
    noted = _time_of(os.path.join(layout.used, name))
    built = manifest.built if manifest is not None else _time_of(path)
    uses = [time for time in (noted, built) if time is not None]
    return Surveyed(
        name=name,
        path=path,
        key=key,
        manifest=manifest,
        published=current == name,
        replaced_by=current if current not in (None, name) else None,
        index=index,
        bytes=manifest.bytes if manifest is not None else 0,
        last_use=max(uses) if uses else None,
        noted=noted,
        doubt=doubt,
        held_by_manifest=has_manifest,
    )


def _published(layout: Layout) -> Iterator[tuple[str, str]]:
    for key, _ in _links(layout.keys):
        if (path := published(layout, key)) is not None:
            yield key, path


def _links(folder: str) -> Iterator[tuple[str, str]]:
    """Names of the links in a folder, each with the last part of what it leads to."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in names:
        try:
            yield name, os.path.basename(again(functools.partial(os.readlink, os.path.join(folder, name))))
        except OSError:
            continue


def _doubt_of_link(link: str) -> str | None:
    # `published` reads none where the disk fails, and what no key leads to may go
    try:
        again(lambda: os.readlink(link))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
            return f"its key can't be read: {error.strerror}"
    return None


def _time_of(path: str) -> float | None:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return None


def linked_bytes(item: Surveyed) -> int:
    """Bytes of an environment's files that have a name elsewhere, too, mostly in uv's cache: to remove the environment gives back the
    others. It looks at each file; what a file system shares without a name for it (reflinks) is not seen.
    """
    files = (os.path.join(folder, name) for folder, _, names in os.walk(item.path) for name in names)
    return sum(found.st_size for found in map(os.lstat, files) if found.st_nlink > 1)
