"""`--launcher`: the words that stand before a case's Python, and what is wrong with them here."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping

from sharedenv.errors import SharedenvError


def launcher_words(text: str | None) -> tuple[str, ...]:
    """The words of a launcher; () without one."""
    return tuple(shlex.split(text)) if text else ()


def refuse_missing(words: tuple[str, ...], paths: Iterable[str]) -> None:
    """Raises SharedenvError where a launcher is not found; ``paths``: values of PATH, any of which may have it."""
    if not words or "{" in words[0]:
        return
    from shutil import which  # noqa: PLC0415 - most runs have no launcher

    if not any(which(words[0], path=path) for path in paths):
        cause = "there is no program of that name" + ("" if "/" in words[0] else " in a folder of PATH")
        hint = f"command -v {shlex.quote(words[0])}"
        raise SharedenvError(f"the launcher {words[0]} can't be started; nothing was run", cause=cause, hint=hint)


def doubt_of_step(words: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    """Why a launcher would wait for ever in the step of Slurm in which this process is; None where it would not."""
    if not words or os.path.basename(words[0]) != "srun" or "SLURM_STEP_ID" not in environ:
        return None
    if "--overlap" in words or environ.get("SLURM_OVERLAP"):
        return None
    return "srun waits for the CPUs of the step that this runs in, which keeps them until it ends: srun --exact --overlap"
