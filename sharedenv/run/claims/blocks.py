"""Blocks of a list and the names of their tokens. Pure."""

from __future__ import annotations

from sharedenv.values import frozen

FREE = "free"  #: in place of a holder: nobody has it

CLAIMS, TOKENS, AGAIN, TAKEN = FOLDERS = ("claims", "tokens", "again", "taken")
STOP = "stop"
CLOSED = "closed"  #: the tokens of a list that is closed are in a folder whose name begins so
LINKED = f"{CLAIMS}/0"  #: where it is, the other names of one line are links


def may_hold_links(folder: str) -> bool:
    """Whether links belong into the folder of a list that has this name: their texts are read, and nobody follows them."""
    return folder in FOLDERS or folder.startswith(f"{CLOSED}-")


@frozen
class CaseBlock:
    """Consecutive cases of a list, as the file of its claim says.

    number    of the claim, from 1; 0 for a case that is to be tried once more
    maker     worker who made it
    serial    its number among those that this worker made
    first     position of its first case in the list, from 0
    end       position after its last one
    slots     cases that all workers that have joined until then run at a time
    attempts  that were made at its cases before
    """

    number: int
    maker: str
    serial: int
    first: int
    end: int
    slots: int = 0
    attempts: int = 0

    @property
    def size(self) -> int:
        """Number of its cases."""
        return self.end - self.first

    def token(self, begun: int, holder: str) -> str:
        """The name of its token in a run's folder when the first ``begun`` of its cases are begun."""
        return f"{TOKENS}/{Token(self.maker, self.serial, begun, holder).name}"

    def encode(self) -> bytes:
        """As a file."""
        numbers = (self.number, self.serial, self.first, self.end, self.slots, self.attempts)
        return f"{self.maker} {' '.join(map(str, numbers))}\n".encode("ascii")


def decode_block(data: bytes | None) -> CaseBlock | None:
    """The block that a file tells of; None for a file that isn't there or is not whole."""
    if data is None or not data.endswith(b"\n"):
        return None
    try:
        maker, *numbers = data.decode("ascii").split()
        number, serial, first, end, slots, attempts = map(int, numbers)
    except ValueError:
        return None
    return CaseBlock(number, maker, serial, first, end, slots, attempts) if first < end else None


@frozen
class Token:
    """The name of a token: maker and serial of the block, how many of its cases are begun, and who may begin the next one."""

    maker: str
    serial: int
    begun: int
    holder: str

    @property
    def name(self) -> str:
        """In its folder."""
        return f"{self.maker}-{self.serial}-{self.begun}-{self.holder}"


def decode_token(name: str) -> Token | None:
    """The token of this name; None for a file that is none."""
    maker, *rest = name.split("-")
    if len(rest) != 3 or not (rest[0].isdigit() and rest[1].isdigit()):
        return None
    return Token(maker, int(rest[0]), int(rest[1]), rest[2])


SLOW, REST = "slow", "rest"


@frozen
class Offer:
    """A token that was let go, as a file of again/ says; ``slow``: its cases take longer than its holder had reckoned."""

    token: Token
    slow: bool = False

    def encode(self) -> bytes:
        """As a file."""
        return f"{self.token.name} {SLOW if self.slow else REST}\n".encode("ascii")


def decode_offer(data: bytes | None) -> Offer | None:
    """The offer of a file; None for one that is not whole."""
    if data is None or not data.endswith(b"\n"):
        return None
    name, _, why = data.decode("ascii", "replace").strip().partition(" ")
    token = decode_token(name)
    return None if token is None else Offer(token, why == SLOW)
