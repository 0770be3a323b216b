"""Ending process groups: TERM, a grace, KILL, and what scripts left behind in theirs."""

from __future__ import annotations

import contextlib
import os
import signal
from math import inf
from time import monotonic

_POLL = 0.05  # seconds between looks at a group that has no leader to wait for any more
_GIVE_UP = 5.0  # seconds after KILL: what is still there can't be killed (a zombie, a hung disk)
_SETTLED = 0.5  # seconds after the end of a launcher: what it was just about to start is there by then

Marks = tuple[bytes, ...]  # variables, as NAME=value, that only what was started for one attempt at a case has all of


class Groups:
    """Process groups of scripts, by the number of their leader; times are those of the monotonic clock, in seconds."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._ending: dict[int, float] = {}  # group → when it gets KILL
        self._killed: dict[int, float] = {}  # group → when we stop looking
        self._left_behind: set[int] = set()
        self._headless: dict[Marks, float] = {}  # of launchers that were killed → when

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

    def leader_ended(self, group: int, killed: Marks = ()) -> None:
        """The leader was waited for: remember the group if others are in it. ``killed``: of a launcher that was; it ends nothing of
        what it had started (mpirun gives each rank a group of its own), so that is done here.
        """
        if killed:
            self._headless[killed] = monotonic()
            self._end_headless(monotonic())
        if _exists(group):
            if group not in self._ending and group not in self._killed:
                self._left_behind.add(group)
        else:
            self._ending.pop(group, None)
            self._killed.pop(group, None)

    def look(self) -> None:
        """Forgets what scripts left behind and has ended since: its number may become that of a stranger's group."""
        self._left_behind = {group for group in self._left_behind if _exists(group)}

    def _end_headless(self, now: float) -> None:
        """Ends what is left of launchers that were killed, also what was just being started then."""
        for marks, since in tuple(self._headless.items()):
            found = _groups_with(marks)
            for group in found:
                self.end(group, now)
            if now - since >= (self._grace + _GIVE_UP if found else _SETTLED):
                del self._headless[marks]

    def watch(self, now: float, leaders: set[int]) -> list[int]:
        """KILLs those whose grace is over; forgets those that are gone. ``leaders``: groups whose leader still runs, for all that
        is known; returned are those of them that were killed so long ago that it should be known by now.
        """
        self._end_headless(now)
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
        return bool(self._ending or self._killed or self._headless)

    def next_look(self, now: float) -> float:
        """Seconds until `watch` has something to do."""
        return _POLL if self._killed else min(_POLL * 4, max(0.0, min(self._ending.values(), default=inf) - now))

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


def _groups_with(marks: Marks) -> set[int]:
    """Process groups, but our own, of the processes that were started with these variables; none without /proc."""
    wanted, groups = set(marks), set()
    for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        # suppressed: it has ended meanwhile, or is another user's
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            if wanted.issubset(file.read().split(b"\0")):
                groups.add(os.getpgid(int(name)))
    return groups - {os.getpgrp()}
