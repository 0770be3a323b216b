"""What may leave a pool, and how it leaves: what is in use, needed or in doubt stays, and nothing is waited for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from functools import partial

from sharedenv.care.leaving import DAY, HOUR, Leaving, days
from sharedenv.care.rubbish import REMOVED, Rubbish, clear_rubbish, names_in
from sharedenv.care.survey import Surveyed, linked_bytes, survey
from sharedenv.pool.files import CLOCK, file_system_time
from sharedenv.pool.layout import OVER, STANDING, Layout, is_part
from sharedenv.pool.mounts import FileSystem, Locks, file_system
from sharedenv.pool.store import remove_tree
from sharedenv.values import frozen

UNUSED_FOR = 30 * DAY  #: seconds since the last use after which an environment goes, unless told otherwise

LEAST_RECENTLY_USED = "least recently used"


@frozen
class Policy:
    """What is asked of a prune.

    unused_for  seconds since the last use; None: not asked for
    max_size    bytes that the environments may take together; None: not asked for
    keep        keys that stay; when neither age nor size is asked for, all others go. None: not asked for
    needed      keys that unfinished runs need, each with words for the user that name such a run
    doubt       why it isn't known what is needed, in words for the user: then no published environment goes
    spared      seconds: what was used within them stays, whatever is asked
    pack        of a published environment that goes, an archive stays; what is packed goes only where max_size wants it
    dry_run     nothing is removed
    """

    unused_for: float | None = None
    max_size: int | None = None
    keep: frozenset[str] | None = None
    needed: Mapping[str, str] = field(default_factory=dict)
    doubt: str | None = None
    spared: float = 0.0
    pack: bool = False
    dry_run: bool = False

    @property
    def age(self) -> float | None:
        """The age that counts: 30 days when nothing else was asked for."""
        return UNUSED_FOR if self.unused_for is None and self.max_size is None and self.keep is None else self.unused_for


@frozen
class Verdict:
    """What became of one environment, and why, in words for the user.

    idle     seconds since its last use, None: unknown
    archive  bytes of the archive that stays of it (0 where nothing was done yet); None where none does
    linked   bytes of its files that have a name elsewhere, too, as it went: they were not freed with it
    """

    environment: Surveyed
    removed: bool
    reason: str
    idle: float | None
    archive: int | None = None
    linked: int = 0

    @property
    def left(self) -> int:
        """Bytes that stay."""
        return (self.archive or 0) if self.removed else self.environment.bytes


@frozen
class Pruned:
    """The result of a prune.

    blind  the file system whose locks other nodes don't see, if it is such a one
    over   bytes by which what stays is more than ``max_size``
    """

    verdicts: tuple[Verdict, ...]
    rubbish: tuple[Rubbish, ...]
    blind: FileSystem | None
    over: int

    @property
    def freed(self) -> int:
        """Bytes that the disk has got back; fewer than none where archives are larger than what was an environment's alone."""
        return self.gone - self.linked

    @property
    def gone(self) -> int:
        """Bytes of the environments that went, without their archives."""
        return sum(verdict.environment.bytes - verdict.left for verdict in self.verdicts)

    @property
    def linked(self) -> int:
        """Those of them that stay, since they have a name elsewhere."""
        return sum(verdict.linked for verdict in self.verdicts)


def prune(layout: Layout, policy: Policy) -> Pruned:
    """Removes what the policy lets go and nothing holds back; what is rubbish goes too. Never waits."""
    now = file_system_time(layout.tmp)
    system = file_system(layout.path)
    blind = system if system is not None and system.locks is Locks.BLIND else None
    found = survey(layout)
    verdicts: dict[str, Verdict] = {}
    # what turns out to be in use makes no room: the next least recently used goes in its place
    while len(verdicts) < len(found):
        wishes = decide(found, policy, now, blind=blind is not None, held=verdicts)
        going = [wish for wish in wishes if wish.removed and wish.environment.name not in verdicts]
        for wish in going or wishes:
            if wish.environment.name not in verdicts:
                verdicts[wish.environment.name] = _carry_out(layout, wish, policy)
    rubbish = tuple(clear_rubbish(layout, now, dry_run=policy.dry_run))
    ordered = tuple(verdicts[item.name] for item in found)
    left = sum(verdict.left for verdict in ordered)
    return Pruned(ordered, rubbish, blind, 0 if policy.max_size is None else max(0, left - policy.max_size))


def run_files(layout: Layout) -> frozenset[str]:
    """The names of all runs and of their files: a run that begins, or goes on, adds one; who looks at it does not."""
    runs = [name for name in names_in(layout.runs) if name != OVER]
    files = ((run, name) for run in runs for name in names_in(os.path.join(layout.runs, run)) if not name.startswith((CLOCK, STANDING)))
    return frozenset([*runs, *(os.path.join(*pair) for pair in files)])


def remove_pool(layout: Layout, pruned: Pruned, policy: Policy, files: frozenset[str]) -> str | None:
    """Removes the folder of a pool in which that prune has left nothing: no environment, no build or run at work, nothing
    that isn't a pool's; and the link to it, where the pool is one. Why it stays, in words, or None.

    files  `run_files` as they were when it was asked what runs need
    """
    if reason := _occupied(layout, pruned, policy, files):
        return reason
    folder = os.path.realpath(layout.path)
    aside = f"{folder}{REMOVED}{os.urandom(4).hex()}"
    try:
        # at one stroke: whoever comes now makes a pool of their own, and loses nothing with this one
        os.rename(folder, aside)
    except OSError:  # its parent is not ours to write, or it is a mount
        aside = folder
    else:
        if reason := _occupied(Layout(aside), pruned, policy, files):
            return _put_back(aside, folder, reason)
    remove_tree(aside)
    if os.path.islink(layout.path) and not os.path.exists(layout.path):
        with contextlib.suppress(OSError):
            os.unlink(layout.path)
    if os.path.lexists(aside):
        reason = f"{', '.join(sorted(names_in(aside))[:3]) or folder} can't be removed"
        return reason if aside == folder else _put_back(aside, folder, reason)
    return f"the link to {folder} can't be removed" if os.path.islink(layout.path) else None


def _put_back(aside: str, folder: str, reason: str) -> str:
    """Undoes the rename of a pool that is not to go, or can't; why it stays, in words."""
    try:
        os.rename(aside, folder)
    except OSError:  # there is a new pool already: no later prune is to take the old one for rubbish
        kept = f"{folder}.kept-{os.urandom(4).hex()}"
        with contextlib.suppress(OSError):
            os.rename(aside, kept)
        return f"{reason}: what was in it is in {kept if os.path.lexists(kept) else aside}"
    return reason


def _occupied(layout: Layout, pruned: Pruned, policy: Policy, files: frozenset[str]) -> str | None:
    return next(_occupants(layout, pruned, policy, files), None)


def _occupants(layout: Layout, pruned: Pruned, policy: Policy, files: frozenset[str]) -> Iterator[str]:
    if any(not verdict.removed for verdict in pruned.verdicts):
        yield "not every environment went"
    if policy.needed or policy.doubt:
        yield policy.doubt or min(policy.needed.values())
    if begun := run_files(layout) - files:
        yield f"run {min(begun).partition('/')[0]} began meanwhile"
    # files in tmp/ live for an instant: a young one is nobody at work
    if any(item.live and os.path.isdir(item.path) for item in clear_rubbish(layout, file_system_time(layout.tmp), dry_run=True)):
        yield "a build may be at work"
    try:
        others = [name for name in os.listdir(layout.path) if not is_part(name)]
        if others or os.listdir(layout.envs):
            yield f"{min(others)} is not its own" if others else "an environment was made meanwhile"
    except OSError as error:
        yield f"it can't be looked into: {error.strerror}"


def decide(
    found: Iterable[Surveyed], policy: Policy, now: float, *, blind: bool, held: Mapping[str, Verdict] | None = None
) -> list[Verdict]:
    """What should go by age, size and need; whether it may is seen when it is carried out. Pure.

    ``blind``: other nodes don't see this file system's locks. Then whatever was used within a day stays, and a
    generation that was replaced is given the same time as any other. ``held``: what has been carried out already, by name.
    """
    done = held or {}
    verdicts = [done.get(item.name) or _judge(item, policy, now, blind=blind) for item in found]
    if policy.max_size is None:
        return verdicts
    total = sum(verdict.left for verdict in verdicts)
    # packing comes first, where it was asked for: what was packed goes when all the rest is
    order = sorted(enumerate(verdicts), key=lambda pair: (policy.pack and pair[1].environment.packed, -(pair[1].idle or 0.0)))
    for place, verdict in order:
        if total <= policy.max_size:
            break
        if verdict.removed or verdict.environment.name in done or not _may_go(verdict, policy, blind=blind):
            continue
        verdicts[place] = Verdict(verdict.environment, True, LEAST_RECENTLY_USED, verdict.idle)
        total -= verdict.environment.bytes
    return verdicts


def _judge(item: Surveyed, policy: Policy, now: float, *, blind: bool) -> Verdict:
    if item.doubt is not None or item.last_use is None:
        return Verdict(item, False, item.doubt or "its last use is unknown", None)
    idle = now - item.last_use
    removed, reason = _wish(item, policy, idle, blind=blind)
    return Verdict(item, removed, reason, idle)


def _wish(item: Surveyed, policy: Policy, idle: float, *, blind: bool) -> tuple[bool, str]:
    """Whether it should go, and why or why not."""
    used = f"used {days(idle)} ago"
    packed = "packed" if policy.pack and item.packed and item.manifest is not None else None
    if reason := _needed_by(item, policy) or (used if idle < policy.spared else packed):
        return False, reason
    if item.replaced_by is not None:
        young = blind and idle < max(DAY, UNUSED_FOR if policy.age is None else policy.age)
        return not young, f"replaced by {item.replaced_by}{f', but {used}' if young else ''}"
    if not item.current:
        return idle >= (DAY if blind else HOUR), f"no key leads to it; {used}"
    young = (blind and idle < DAY) or (policy.age is not None and idle < policy.age)
    if young or (policy.age is None and (policy.keep is None or policy.max_size is not None)):
        return False, used
    if policy.keep is None:
        return True, f"unused for {days(idle)}"
    return True, "not needed by the scripts named" if policy.keep else "all were to go"


def _needed_by(item: Surveyed, policy: Policy) -> str | None:
    if item.key is not None and (why := policy.needed.get(item.key)):
        return why
    if item.current and policy.doubt is not None:
        return policy.doubt
    if item.replaced_by is None and policy.keep is not None and item.key in policy.keep:
        return "needed by the scripts named"
    return None


def _may_go(verdict: Verdict, policy: Policy, *, blind: bool) -> bool:
    item, idle = verdict.environment, verdict.idle
    if idle is None or policy.doubt or item.key in policy.needed or (policy.keep is not None and item.key in policy.keep):
        return False
    return idle >= max(policy.spared, DAY if blind else 0.0) and item.current


def _carry_out(layout: Layout, wish: Verdict, policy: Policy) -> Verdict:
    if not wish.removed:
        return wish
    leaving = Leaving(layout, wish.environment, partial(_old_enough_without_locks, wish, policy), wish.idle, policy.dry_run)
    linked = _linked(wish.environment)  # each time anew: with the last of two environments that share a file it goes
    packs = policy.pack and wish.environment.published and wish.environment.manifest is not None
    kept = leaving.pack() if packs else leaving.remove()
    if isinstance(kept, str):
        return replace(wish, removed=False, reason=kept)
    return replace(wish, archive=kept, linked=linked)


def _linked(item: Surveyed) -> int:
    try:
        return 0 if item.packed else min(linked_bytes(item), item.bytes)
    except OSError:  # somebody else is removing it
        return 0


def _old_enough_without_locks(wish: Verdict, policy: Policy) -> bool:
    if wish.idle is None:
        return False
    if wish.reason == LEAST_RECENTLY_USED:
        return _may_go(wish, policy, blind=True)
    return _wish(wish.environment, policy, wish.idle, blind=True)[0]
