"""Builds as they go on: on a terminal a live line each, elsewhere plain lines; at the end what sharing saved."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from sharedenv.errors import SharedenvError
from sharedenv.key.plan import Need
from sharedenv.pool.store import Environment
from sharedenv.report.console import Console, columns
from sharedenv.report.words import count, duration, made_pool, printable, short_path, size
from sharedenv.report.wrap import wrapped
from sharedenv.start.access import SHORT
from sharedenv.start.environ import current_folder

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_BUILDING = "building"  # said of what each step says by itself, where there is no room
_WAITING = "waiting for another build"
_WIDE = 120  # columns from which on a live line has room for all that there is to say of a build
_NARROW = 60  # below so many it names no environment
_FRAME = 10  # columns of what stands before and behind: a spinner, `0:00:12`, blanks


class BuildProgress:
    """Tells of builds, from the threads that do them. A context manager: the live lines are gone when it is left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._cwd = current_folder(os.environ)  # a batch that runs meanwhile changes folders
        self._lock = threading.Lock()
        self._live: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._heads: dict[str, str] = {}
        self._doing: dict[str, str] = {}
        self._noted: set[str] = set()
        self.built_environments: list[tuple[Need, Environment]] = []
        self.changed = False  # whether something was added to the pool

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def started(self, need: Need, reason: str | None) -> None:
        """A build begins."""
        name = need.payload.key[:SHORT]
        if reason is not None:
            self._say(f"rebuilding environment {name}: {reason}")
        self._show(need, f"building environment {name} for {_users(need, self._cwd)}", _BUILDING)

    def made_pool(self, path: str) -> None:
        """There was no pool; now there is one."""
        self._say(made_pool(path))

    def waiting(self, need: Need, holder: str, since: float) -> None:
        """Somebody else builds it."""
        at = time.strftime("%H:%M:%S", time.localtime(since))
        self._show(need, f"waiting for environment {need.payload.key[:SHORT]}: {holder} builds it since {at}", "waiting for")

    def step(self, need: Need, text: str) -> None:
        """What a build is doing: seen on a terminal, or with -v."""
        with self._lock:
            self._doing[need.payload.key] = text
            if self._live is not None and (task := self._tasks.get(need.payload.key)) is not None:
                self._live.update(task, description=self._line(need.payload.key))
                return
        self._console.detail(f"  {need.payload.key[:SHORT]}: {text}")

    def note(self, text: str) -> None:
        """What the user should know, once."""
        with self._lock:
            known = text in self._noted
            self._noted.add(text)
        if not known:
            self._say(text)

    def warn(self, text: str) -> None:
        """A warning, told once."""
        self.note(f"{self._console.style('warning', 'warning:')} {text}")

    def built(self, need: Need, environment: Environment, seconds: float) -> None:
        """A build was published."""
        manifest = environment.manifest
        self._drop(need)
        self.built_environments.append((need, environment))
        self.changed = True
        self._say(
            f"built environment {need.payload.key[:SHORT]} in {duration(seconds)}: "
            f"Python {manifest.interpreter.version}, {count(len(manifest.packages), 'package')}"
        )

    def unpacked(self, need: Need, environment: Environment, seconds: float) -> None:
        """An environment that was packed is in the pool again."""
        self._drop(need)
        self.changed = True
        files = count(environment.manifest.files, "file")
        self._say(f"unpacked environment {need.payload.key[:SHORT]} in {duration(seconds)} ({files})")

    def failed(self, need: Need, error: SharedenvError) -> None:  # noqa: ARG002 - errors are told by who asked for the build
        """A build failed."""
        self._drop(need)

    @property
    def doing(self) -> str:
        """What the build that is at work does, where there is one alone; else ""."""
        with self._lock:
            return next(iter(self._doing.values())) if len(self._doing) == 1 else ""

    def _show(self, need: Need, text: str, briefly: str) -> None:
        with self._lock:
            if self._console.live:
                if (wide := columns()) < _WIDE:  # what it does comes first
                    text = f"{briefly} {need.payload.key[:SHORT]}" if wide >= _NARROW else "" if briefly == _BUILDING else _WAITING
                live = self._start_live()
                self._heads[need.payload.key] = text
                line, task = self._line(need.payload.key), self._tasks.get(need.payload.key)
                if task is None:
                    self._tasks[need.payload.key] = live.add_task(line)
                else:
                    live.update(task, description=line)
                return
        self._console.say(text)

    def _line(self, key: str) -> str:
        return live_line(self._heads[key], self._doing.get(key, ""), columns())

    def _drop(self, need: Need) -> None:
        with self._lock:
            self._doing.pop(need.payload.key, None)
            task = self._tasks.pop(need.payload.key, None)
            if self._live is not None and task is not None:
                self._live.remove_task(task)

    def _say(self, text: str) -> None:
        with self._lock:
            if self._live is not None:
                self._live.console.print(wrapped(text, columns()), markup=False, highlight=False, soft_wrap=True)
                return
        self._console.say(text)

    def _start_live(self) -> Progress:
        if self._live is None:
            from rich.console import Console as RichConsole  # noqa: PLC0415 - only a terminal needs them
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=RichConsole(stderr=True, no_color=not self._console.colored),
                transient=True,
            )
            self._live.start()
        return self._live


def live_line(head: str, step: str, width: int) -> str:
    """What fits of a build's line into so many columns: of its step the names go first (`downloading: 12 of 28 MB`), then all of it."""
    what, _, sizes = step.rpartition(": ")
    for text in (step, f"{what.partition(' ')[0]}: {sizes}" if what else step, ""):
        line = f"{head} {text}".strip()
        if len(line) <= width - _FRAME:
            break
    return line


def summary(built: Iterable[tuple[Need, Environment]]) -> str | None:
    """What was built and what sharing it saved; None when nothing was."""
    pairs = list(built)
    if not pairs:
        return None
    scripts = sum(len(need.scripts) for need, _ in pairs)
    total = sum(environment.manifest.bytes for _, environment in pairs)
    files = sum(environment.manifest.files for _, environment in pairs)
    spared = scripts - len(pairs)
    tail = f"; {spared:,} more would each have had its own" if spared else ""
    return (
        f"built {count(len(pairs), 'environment')} for {count(scripts, 'script')} "
        f"({size(total)}, {count(files, 'file')}{tail})"
    )


def _users(need: Need, cwd: str) -> str:
    first = printable(short_path(need.scripts[0], cwd))
    return first if len(need.scripts) == 1 else f"{len(need.scripts):,} scripts ({first}, …)"
