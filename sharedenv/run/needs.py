"""What each case gets for itself, and who asks for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sharedenv.values import frozen


@frozen
class Needs:
    """So many GPUs and so many CPUs for each case, None for nothing of its own."""

    gpus: int | None = None
    cpus: int | None = None

    def __bool__(self) -> bool:
        return self.gpus is not None or self.cpus is not None

    def __str__(self) -> str:
        return " and ".join(counted(number, what) for number, what in ((self.gpus, "GPU"), (self.cpus, "CPU")) if number is not None)


@frozen
class Resources:
    """Who takes places.

    jobs       cases at a time that the user asked for, None for as many as there is room for
    cpus       its part of the job's CPUs on this node
    variables  of its process
    """

    jobs: int | None
    cpus: int
    variables: Mapping[str, str]


def counted(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"
