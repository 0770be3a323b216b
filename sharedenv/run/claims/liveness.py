"""Whether a worker is gone, so that what it has claimed and not begun may be taken: a protocol."""

from __future__ import annotations

from typing import Protocol


class Liveness(Protocol):
    """Who is gone, as one process sees it."""

    def gone(self, worker: str, /) -> bool:
        """Whether a worker is dead for certain, or has given no sign for so long that it may be. What it had begun stays its own."""
