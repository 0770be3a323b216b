"""One worker's dealings with the list of a run: claim a block, begin its cases one by one, let go, take over.

Pure but for a folder, a clock and a pause that are given: a test can stop it at every call.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from sharedenv.run.claims.blocks import (
    AGAIN,
    CLAIMS,
    FREE,
    STOP,
    TAKEN,
    TOKENS,
    CaseBlock,
    Offer,
    Token,
    decode_block,
    decode_offer,
    decode_token,
)
from sharedenv.run.claims.folder import Folder
from sharedenv.run.claims.liveness import Liveness
from sharedenv.run.claims.pace import Pace
from sharedenv.values import frozen

PATIENCE = 3.0  #: seconds that a case waits in a block beyond what was reckoned, before others get it
_LOOK, _LONGEST = 0.5, 5.0  # seconds between two looks whether something is left: the first, and at most
_CROWD = 250  # who claims for the first time reckons with so many others
_THIN = 3  # so many times as long as all of them need one by one, a pause is at most: then few meet
_LONGEST_PAUSE = 4.0  # seconds


@frozen
class Begun:
    """A case that this worker has begun, for good: its position in the list, and attempts made at it before."""

    position: int
    attempts: int


@frozen
class _Numbered:
    """Names FOLDER/1, FOLDER/2, … without a gap."""

    name: str

    def at(self, number: int) -> str:
        return f"{self.name}/{number}"

    def last(self, folder: Folder, known: int, ahead: int = 0) -> int:
        """The last number that is there, or one that was a while ago. ``known``: one that is; ``ahead``: as far beyond it is a guess."""
        step, next_step, beyond = max(1, ahead * 7 // 8), max(4, ahead // 4), 0
        while not beyond:
            if folder.exists(self.at(known + step)):
                known, step, next_step = known + step, next_step, next_step * 4
            else:
                beyond = known + step
        while beyond - known > 1:
            middle = (known + beyond) // 2
            known, beyond = (middle, beyond) if folder.exists(self.at(middle)) else (known, middle)
        return known


_CLAIMS, _AGAIN, _TAKEN = _Numbered(CLAIMS), _Numbered(AGAIN), _Numbered(TAKEN)


def last_claim(folder: Folder) -> int:
    """The number of the last claim, 0 where there is none."""
    return _CLAIMS.last(folder, 0)


class Claims:
    """The list, as the worker ``me`` (no other has its name) sees it who runs ``jobs`` of its ``total`` cases at a time.

    ``clock``: monotonic seconds; ``pause``: sleeps so many.
    """

    def __init__(
        self, folder: Folder, me: str, jobs: int, total: int, liveness: Liveness, clock: Callable[[], float], pause: Callable[[float], None]
    ) -> None:
        self.pace = Pace(jobs)
        self.over = False  #: nothing is left that anybody may begin
        self.stopped = False  #: somebody has said that nothing more is to be begun
        self.due = 0.0  #: when `begin` is to be asked again, after it gave None
        self.claimed = 0  #: blocks
        self.fenced = 0  #: blocks that were taken from this worker
        self.fits: Callable[[int], bool] = lambda _position: True  #: whether the case at a position may be begun here
        self._folder, self._me, self._jobs, self._total = folder, me, jobs, total
        self._liveness, self._clock, self._pause = liveness, clock, pause
        self._random = random.Random(me)
        self._last = self._end = self._slots = 0  # the last claim known, and what it says
        self._ahead = 0  # claims that others had made meanwhile, when it was looked for the last time
        self._joined = False  # whether a claim counts our jobs
        self._serial = 0
        self._offers = -1  # the last offer that somebody has gone for, as far as is known; -1: not looked for yet
        self._offered = 0  # the last offer known
        self._block: CaseBlock | None = None
        self._begun = 0
        self._offered_before = False  # somebody has let the block go already
        self._potato = False  # the block goes from hand to hand: its cases are long
        self._running = 0
        self._last_begin = 0.0
        self._wait = _LOOK
        self._blocks: dict[tuple[str, int], CaseBlock] = {}  # those of others, by maker and serial

    @property
    def left(self) -> int:
        """Cases that may still be to begin, as far as is known."""
        if self.over or self.stopped:
            return 0
        return max(1, self._total - self._end + self.held)

    @property
    def held(self) -> int:
        """Cases that this worker has and has not begun."""
        return 0 if self._block is None else self._block.size - self._begun

    def begin(self) -> Begun | None:
        """The next case, begun; None when there is none to be had now. Raises OSError."""
        try:
            while self._block is not None or self._get():
                if self._block is not None and not self.fits(self._block.first + self._begun):
                    self.let_go(slow=True)
                    return None
                if (begun := self._begin_next()) is not None:
                    return begun
        except FileNotFoundError:  # the run has ended, and its list was folded
            self._block, self.over = None, True
        self.due = self._clock() + self._wait
        return None

    def ended(self, seconds: float | None) -> None:
        """A case that was begun here took so long; None: that says nothing of others."""
        self._running -= 1
        if seconds is not None:
            self.pace.ended(seconds)

    def tick(self) -> None:
        """Gives back what waits for longer than was reckoned. Raises OSError."""
        waits = self._block is not None and self._running > 0
        if waits and self._clock() - self._last_begin > (self.pace.mean or 0.0) + PATIENCE:
            self.let_go(slow=self._offered_before)

    def let_go(self, *, slow: bool = False) -> None:
        """Gives back what was claimed and not begun. Raises OSError."""
        block, self._block = self._block, None
        if block is not None:
            token = Token(block.maker, block.serial, self._begun, FREE)
            if self._folder.rename(block.token(self._begun, self._me), f"{TOKENS}/{token.name}"):
                self._offer(Offer(token, slow))

    def put_back(self, position: int, attempts: int) -> None:
        """A case that was begun here could not be started: as try_again. Raises OSError."""
        self._running -= 1
        self.try_again(position, attempts)

    def try_again(self, position: int, attempts: int) -> None:
        """A case that was begun here is to be tried once more, by whoever comes; ``attempts`` were made. Raises OSError."""
        block = CaseBlock(0, self._me, self._serial, position, position + 1, self._slots, attempts)
        self._serial += 1
        token = Token(block.maker, block.serial, 0, FREE)
        self._folder.make(f"{TOKENS}/{token.name}", block.encode())
        self._offer(Offer(token))
        self.over, self.due, self._wait = False, 0.0, _LOOK

    def stop(self) -> None:
        """Nobody is to begin anything more. Raises OSError."""
        self._folder.mark(STOP)
        self.stopped = True

    def _begin_next(self) -> Begun | None:
        """Begins the next case of the block; None when that was taken from us."""
        block = self._block
        assert block is not None
        after = block.token(self._begun + 1, self._me)
        if not self._folder.rename(block.token(self._begun, self._me), after):
            self._block = None
            self.fenced += 1
            return None
        begun = Begun(block.first + self._begun, block.attempts)
        self._begun += 1
        self._running += 1
        self._last_begin = self._clock()
        if self._begun == block.size:
            self._block = None
            self._folder.remove(after)
        elif self._potato and self._running >= self._jobs:
            self.let_go(slow=True)
        return begun

    def _get(self) -> bool:
        """Gets a block: one that was let go, else the next of the list, else one that was left behind."""
        self.stopped = self.stopped or self._folder.exists(STOP)
        if self.stopped:
            return False
        if self._take_offer() or self._claim() or self._search():
            self.over, self._wait = False, _LOOK
            return True
        self._wait = min(_LONGEST, self._wait * 1.5)
        return False

    def _hold(self, block: CaseBlock, begun: int, *, offered: bool = False, potato: bool = False) -> bool:
        self._block, self._begun, self._offered_before, self._potato = block, begun, offered, potato
        self._last_begin = self._clock()
        return True

    def _take_offer(self) -> bool:
        if self._offers < 0:
            self._offers = _TAKEN.last(self._folder, 0)
        while (data := self._folder.read(_AGAIN.at(self._offers + 1))) is not None:
            self._offers += 1
            if not self._folder.mark(_TAKEN.at(self._offers)):
                self._offers = _TAKEN.last(self._folder, self._offers)
            elif (offer := decode_offer(data)) is not None and self._take(offer.token, slow=offer.slow):
                return True
        return False

    def _take(self, token: Token, *, slow: bool = False) -> bool:
        """Makes the block of a token ours; False when it has another name by now."""
        mine = f"{TOKENS}/{Token(token.maker, token.serial, token.begun, self._me).name}"
        if not self._folder.rename(f"{TOKENS}/{token.name}", mine):
            return False
        block = self._blocks.get((token.maker, token.serial)) or decode_block(self._folder.read(mine, sure=True))
        if block is None or token.begun >= block.size:
            self._folder.remove(mine)  # its maker was ended before the last of its cases had cleared it away
            return False
        return self._hold(block, token.begun, offered=True, potato=slow or block.size - token.begun > self.pace.wanted)

    def _claim(self) -> bool:
        lost = 0
        while self._seek() and self._end < self._total:
            slots = self._slots if self._joined else self._slots + self._jobs
            size = self.pace.size(self._total - self._end, max(slots, 1))
            block = CaseBlock(self._last + 1, self._me, self._serial, self._end, self._end + size, slots)
            self._serial += 1  # no name is made twice: a node may remember what was there
            before = self._clock()
            token, line = block.token(0, self._me), block.encode()
            self._folder.make(token, line)
            claimed = self._folder.make(_CLAIMS.at(block.number), line)
            found = block if claimed else self._read(block.number)
            if found is None:  # whose it is can't be seen yet: what may be a claim is left as it is, for `_search` to find
                return False
            if found == block:
                self._last, self._end, self._slots, self._joined = block.number, block.end, slots, True
                self.claimed += 1
                return self._hold(block, 0)
            self._folder.remove(token)  # it was made for a claim that another has won
            lost += 1
            crowd = self._slots // self._jobs if self._joined else _CROWD
            self._pause(self._random.uniform(0, min(_THIN * crowd * lost * (self._clock() - before), _LONGEST_PAUSE)))
        return False

    def _seek(self) -> bool:
        """Finds the last claim; False where it is there, and this node can't see yet what it says."""
        number = _CLAIMS.last(self._folder, self._last, self._ahead)
        self._ahead = number - self._last
        return not self._ahead or self._read(number) is not None

    def _read(self, number: int) -> CaseBlock | None:
        """Reads a claim that is there and was not known; one that is there already may be ours, when an answer is lost on the way and
        the call sent again.
        """
        block = decode_block(self._folder.read(_CLAIMS.at(number), sure=True))
        if block is not None:
            self._last, self._end, self._slots = number, block.end, block.slots
        return block

    def _search(self) -> bool:
        """Looks for cases that nobody will begin otherwise: let go and not found, or of a worker who is gone."""
        waiting = False
        for token in filter(None, map(decode_token, self._folder.names(TOKENS))):
            if self._may_wait(token):
                if (token.holder in (FREE, self._me) or self._liveness.gone(token.holder)) and self._take(token):
                    return True
                waiting = True
        self.over = not waiting
        return False

    def _may_wait(self, token: Token) -> bool:
        """Whether a block, by its token's name of a moment ago, has cases that nobody has begun."""
        known = self._blocks.get((token.maker, token.serial))
        if known is None:
            if (data := self._folder.read(f"{TOKENS}/{token.name}")) is None:
                return True  # it has another name by now
            if (known := decode_block(data)) is None:
                return False
            if known.number and decode_block(self._folder.read(_CLAIMS.at(known.number))) != known:
                return False  # it is made before the claim, which another may have won
            self._blocks[token.maker, token.serial] = known
        return token.begun < known.size

    def _offer(self, offer: Offer) -> None:
        """Tells where a token is that was let go."""
        self._offered = _AGAIN.last(self._folder, self._offered)
        while not self._folder.make(_AGAIN.at(self._offered + 1), offer.encode()):
            self._offered = _AGAIN.last(self._folder, self._offered + 1)
        self._offered += 1
