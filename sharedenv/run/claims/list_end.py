"""The end of a list: what is left of it, closing it for good, and folding it into one file."""

from __future__ import annotations

import contextlib
import os
import shutil

from sharedenv.pool.files import private, sync_descriptor
from sharedenv.run.claims.blocks import AGAIN, CLAIMS, CLOSED, STOP, TAKEN, TOKENS, decode_block, decode_token
from sharedenv.run.claims.claims import last_claim
from sharedenv.run.claims.folder import DiskFolder, Folder

FOLDED = "claims.list"


def not_begun(folder: Folder, total: int) -> int:
    """How many of the ``total`` cases nobody has begun, and a worker who joins may still begin; 0 for a list that is closed."""
    names = folder.names(TOKENS)
    if folder.exists(STOP) or not (names or folder.exists(TOKENS)):
        return 0
    number = last_claim(folder)
    last = decode_block(folder.read(f"{CLAIMS}/{number}", sure=True)) if number else None
    left = total - (last.end if last else 0)
    for token in filter(None, map(decode_token, names)):
        block = decode_block(folder.read(f"{TOKENS}/{token.name}"))
        if block and (not block.number or decode_block(folder.read(f"{CLAIMS}/{block.number}")) == block):
            left += block.size - token.begun
    return left


def to_try_again(folder: Folder) -> list[int]:
    """Positions of the cases that failed and that somebody is to try once more."""
    tokens = filter(None, map(decode_token, folder.names(TOKENS)))
    blocks = [decode_block(folder.read(f"{TOKENS}/{token.name}")) for token in tokens if not token.begun]
    return [block.first for block in blocks if block is not None and not block.number]


def is_damaged(folder: Folder) -> bool:
    """Whether the last claim can't be read: where the list goes on, no worker can tell then."""
    number = last_claim(folder)
    return number > 0 and decode_block(folder.read(f"{CLAIMS}/{number}", sure=True)) is None


def close(path: str) -> None:
    """Closes the list of the run at a path: from now on nobody begins a case of it, however long he has slept. Raises OSError.

    Every begin renames a token of the folder that goes; and as a node may remember that folder for a while, the tokens go, too.
    """
    closed = os.path.join(path, f"{CLOSED}-{os.urandom(4).hex()}")
    try:
        os.rename(os.path.join(path, TOKENS), closed)
    except FileNotFoundError:
        return  # it is closed
    for name in os.listdir(closed):
        with contextlib.suppress(FileNotFoundError):
            os.rename(os.path.join(closed, name), os.path.join(closed, f"{CLOSED}-{name}"))


def fold(path: str) -> None:
    """Puts the claims of a run that has ended into one file. Raises OSError."""
    close(path)
    folder = DiskFolder(path)
    lines = [folder.read(f"{CLAIMS}/{number}", sure=True) or b"" for number in range(1, last_claim(folder) + 1)]
    if not os.path.isdir(os.path.join(path, CLAIMS)):
        return  # somebody else has
    staging = os.path.join(path, f".{FOLDED}-{os.urandom(4).hex()}")
    with open(staging, "wb", opener=private) as file:
        file.writelines(lines)
        file.flush()
        sync_descriptor(file.fileno())
    os.rename(staging, os.path.join(path, FOLDED))
    for name in (CLAIMS, AGAIN, TAKEN, *(name for name in os.listdir(path) if name.startswith(CLOSED + "-"))):
        shutil.rmtree(os.path.join(path, name), ignore_errors=True)
