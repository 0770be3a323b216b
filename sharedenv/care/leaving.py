"""How one environment leaves a pool, for good or for an archive: nobody who runs in it, or is about to, loses it."""

from __future__ import annotations

import os
from collections.abc import Callable

from sharedenv.care.survey import Surveyed
from sharedenv.pool.holders import claimed, processes
from sharedenv.pool.layout import Layout
from sharedenv.pool.lease import try_lease
from sharedenv.pool.store import bury, published, replace_link
from sharedenv.start.distrust import user_name
from sharedenv.start.trust import ROOT
from sharedenv.values import frozen

HOUR = 3600.0
DAY = 24 * HOUR


@frozen
class Leaving:
    """One environment that is to leave.

    old_enough  whether it may go where no lock tells whether it is in use
    idle        seconds since its last use; None: unknown
    dry_run     nothing is done
    """

    layout: Layout
    item: Surveyed
    old_enough: Callable[[], bool]
    idle: float | None
    dry_run: bool

    def remove(self) -> str | None:
        """Removes it; the reason why it stays, in words for the user, or None."""
        try:
            if reason := self._others():
                return reason
            if self.item.packed:
                return self._alone(self._unlink_archive)
            return self._claim(self._take_out) if self.item.held_by_manifest else self._unless_dry(self._take_out)
        except OSError as error:
            return f"it can't be removed: {error.strerror}"

    def pack(self) -> str | int:
        """Packs it, and removes it then; the reason why it stays, in words for the user, or the bytes of its archive."""
        from sharedenv.copies.archive import Damaged  # noqa: PLC0415 - it loads what writes archives

        try:
            if reason := self._others():
                return reason
            return self._claim_alone(lambda: None) or 0 if self.dry_run else self._pack()
        except Damaged as error:
            return f"it can't be packed: {error}"
        except OSError as error:
            return f"it can't be packed: {error.strerror}"

    def _pack(self) -> str | int:
        from sharedenv.copies.pack import pack  # noqa: PLC0415 - as above

        assert self.item.key is not None and self.item.manifest is not None and self.item.last_use is not None  # it is published
        with try_lease(self.layout, self.item.key) as holder:
            if holder:
                return _building(holder)
            # an archive takes its time: who starts something meanwhile is not to find the environment locked
            if reason := self._claim_alone(lambda: None):
                return reason
            archive = pack(self.layout, self.item.path, self.item.manifest, self.item.last_use).path
            size = os.stat(archive).st_size
            # where it stays, the archive counts for nothing, and goes with the rubbish
            reason = self._claim_alone(lambda: self._take_out() if os.path.exists(archive) else "its archive is gone")
        return size if reason is None else reason

    def _others(self) -> str | None:
        # known before the ways in are taken away: nobody should find it missing meanwhile
        if (owner := os.lstat(self.item.path).st_uid) != os.geteuid() != ROOT:
            return f"it belongs to {user_name(owner)}, who alone can remove it"
        return None

    def _claim(self, act: Callable[[], str | None]) -> str | None:
        return self._claim_alone(lambda: self._alone(act))

    def _claim_alone(self, act: Callable[[], str | None]) -> str | None:
        """What ``act`` says, done while nobody runs in it."""
        with claimed(self.item.path) as claim:
            if not claim.taken:
                return _in_use(self.item.path)
            if claim.missing and not self.old_enough():
                return f"no lock tells whether it is in use here, and it was used {days(self.idle or 0.0)} ago"
            return act()

    def _alone(self, act: Callable[[], str | None]) -> str | None:
        """What ``act`` says, done while nobody is about to publish, adopt or unpack this key."""
        if self.item.key is None or self.dry_run:
            return self._unless_dry(act)
        with try_lease(self.layout, self.item.key) as holder:
            return _building(holder) if holder else act()

    def _unless_dry(self, act: Callable[[], str | None]) -> str | None:
        return None if self.dry_run else act()

    def _unlink_archive(self) -> None:
        _unlink(self.item.path)

    def _take_out(self) -> str | None:
        """Takes the ways in away first, then the environment; whoever comes between finds it gone and looks up again."""
        layout, item = self.layout, self.item
        link = os.path.join(layout.keys, item.key) if item.key is not None else None
        # the key may have been turned to another generation since the survey, or to this one
        if link is not None and (leads_to := published(layout, os.path.basename(link))) == item.path:
            os.unlink(link)
        elif item.published != (link is not None and leads_to == item.path):
            return "the pool has changed meanwhile"
        else:
            link = None
        for name in item.index:
            _unlink(os.path.join(layout.index, name))
        # somebody on a node that sees no lock of ours may have come in: the use is noted before the key is looked at again
        reason = "used just now" if item.note_time(layout) != item.noted else bury(layout, item.path)
        if reason is not None:
            if link is not None:
                replace_link(layout, link, f"../envs/{item.name}")
            return reason
        _unlink(os.path.join(layout.used, item.name))
        return None


def _building(holder: str) -> str:
    return f"{holder} is building this key"


def _in_use(path: str) -> str:
    found = processes(path)
    if not found:
        return "in use, by a process on another node or of another user"
    number = "process" if len(found) == 1 else "processes"
    return f"in use by {number} {', '.join(map(str, found[:5]))}{', …' if len(found) > 5 else ''}"


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def days(seconds: float) -> str:
    """A length of time in its greatest unit, for the user."""
    if seconds < 60:
        return "less than a minute"
    if seconds < 2 * HOUR:
        return f"{seconds // 60:.0f} min"
    return f"{seconds // HOUR:.0f} h" if seconds < 2 * DAY else f"{seconds // DAY:.0f} days"
