"""A program: reads pipes until nobody holds their other ends. Its words are FROM:TO, numbers of descriptors; without TO, what it
reads goes nowhere.

It takes no part in what started it: no child of it, in a session of its own, holding none of its files.
"""

from __future__ import annotations

import os
import select
import sys


def main(words: list[str]) -> None:
    """Returns in the process that was started at once; its child goes on."""
    if os.fork():
        return
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    targets = {int(source): int(target or null) for source, _, target in (word.partition(":") for word in words)}
    poll = select.poll()
    for source in targets:
        poll.register(source, select.POLLIN)
    while targets:
        for source, _ in poll.poll():
            data = os.read(source, 65536)
            if not data:
                poll.unregister(source)
                os.close(source)
                del targets[source]
                continue
            try:
                os.write(targets[source], data)
            except OSError:
                pass  # a full disk: as lost as what goes nowhere


if __name__ == "__main__":
    main(sys.argv[1:])
