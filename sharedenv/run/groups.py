"""Ending process groups: TERM, a grace, KILL, and what scripts left behind in theirs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from time import monotonic

_POLL = 0.05  # seconds between looks at a group that has no leader to wait for any more
_GIVE_UP = 5.0  # seconds after KILL: what is still there can't be killed (a zombie, a hung disk)


class Groups:
    """Process groups of scripts, by the number of their leader; times are those of the monotonic clock, in seconds."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._ending: dict[int, float] = {}  # group → when it gets KILL
        self._killed: dict[int, float] = {}  # group → when we stop looking
        self._left_behind: set[int] = set()
        self._below: dict[int, set[int]] = {}  # leader that is a launcher → groups of what it has started

    def end(self, group: int, now: float, *, told: bool = False) -> None:
        """TERM now (CONT too: a stopped process could not answer), KILL after the grace; the same for the groups that
        its leader's children have made for themselves. ``told``: somebody has sent them TERM already.
        """
        for one in (group, *_groups_below(group)):
            if one not in self._ending and one not in self._killed:
                if not told:
                    send(one, signal.SIGTERM)
                send(one, signal.SIGCONT)
                self._ending[one] = now + self._grace

    def end_left_behind(self, now: float) -> None:
        """Ends what scripts that have ended left running in their groups."""
        for group in self._left_behind:
            self.end(group, now)
        self._left_behind.clear()

    def kill(self, group: int, now: float) -> None:
        """KILL now."""
        send(group, signal.SIGKILL)
        self._ending.pop(group, None)
        self._killed[group] = now + _GIVE_UP

    def kill_all(self, now: float) -> None:
        """KILL now to all that are being ended."""
        for group in tuple(self._ending):
            self.kill(group, now)

    def leader_ended(self, group: int, *, killed: bool = False) -> None:
        """The leader was waited for: remember the group if others are in it. A launcher that was ``killed`` ends nothing of what it
        had started: that is done here.
        """
        below = self._below.pop(group, set())
        for one in below if killed else ():
            if _exists(one):
                self.end(one, monotonic())
        if _exists(group):
            if group not in self._ending and group not in self._killed:
                self._left_behind.add(group)
        else:
            self._ending.pop(group, None)
            self._killed.pop(group, None)

    def look(self, launchers: Iterable[int]) -> None:
        """Forgets what scripts left behind and has ended since: its number may become that of a stranger's group. Notes what those of
        the leaders have started that are launchers (mpirun gives each rank a group of its own).
        """
        self._left_behind = {group for group in self._left_behind if _exists(group)}
        for leader in launchers:
            self._below[leader] = _groups_below(leader)

    def watch(self, now: float, leaders: set[int]) -> list[int]:
        """KILLs those whose grace is over; forgets those that are gone. ``leaders``: groups whose leader still runs, for all that
        is known; returned are those of them that were killed so long ago that it should be known by now.
        """
        for group, time in tuple(self._ending.items()):
            if group not in leaders and not _exists(group):
                del self._ending[group]
            elif now >= time:
                self.kill(group, now)
        for group, time in tuple(self._killed.items()):
            if group not in leaders and (now >= time or not _exists(group)):
                del self._killed[group]
        return [group for group, time in self._killed.items() if group in leaders and now >= time]

    @property
    def busy(self) -> bool:
        """Whether some group is being ended."""
        return bool(self._ending or self._killed)

    def next_look(self, now: float) -> float:
        """Seconds until `watch` has something to do."""
        return _POLL if self._killed else min(_POLL * 4, max(0.0, min(self._ending.values(), default=now) - now))

    def suspend(self, groups: set[int]) -> float:
        """STOPs them all, this process too; CONTinues them when it is continued (Ctrl-Z and fg). Seconds for which they stood still."""
        began = monotonic()
        groups = groups | self._ending.keys()
        for group in groups:
            send(group, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        for group in groups:
            send(group, signal.SIGCONT)
        stopped = monotonic() - began
        for times in (self._ending, self._killed):  # a grace is the time that a script has to run
            for group in times:
                times[group] += stopped
        return stopped


def send(group: int, number: int) -> None:
    """Signals a process group, where there is one still."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone, or (macOS) only a zombie is left


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's by now, or (macOS) only a zombie is left
    return True


def _groups_below(leader: int) -> set[int]:
    """Process groups of a leader's descendants other than its own (setsid, as launchers of MPI do); none without /proc."""
    found = [leader]
    for process in found:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for thread in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{thread}/children") as file:
                    found += map(int, file.read().split())
    groups = set()
    for process in found[1:]:
        with contextlib.suppress(OSError):
            groups.add(os.getpgid(process))
    return groups - {leader, os.getpgrp()}
