"""One fork server as the process that started it sees it: what it has imported, and the messages to and fro.

The other end is forkserver/sitecustomize.py, which describes the protocol.
"""

from __future__ import annotations

import functools
import marshal
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sharedenv.run.starter import ProcessEnd
from sharedenv.start.regular import read_regular

STOPPED = 1.0  #: seconds between two looks at a server, both of which find it stopped, before it is ended
OLDEST = 8  #: minor version of Python 3 that forkserver/ is written for
#: files that a module reads from the current folder when it is imported
_READS_FOLDER = {"matplotlib": "matplotlibrc", "numba": ".numba_config.yaml"}


class ServerGone(Exception):
    """The server has ended; ``unread``: surely without having read our last request."""

    def __init__(self, *, unread: bool) -> None:
        super().__init__()
        self.unread = unread
        self.said = ""  # last on its stderr


@dataclass(slots=True)
class Server:
    """``output``: descriptor of what it writes. ``refused``: why these imports can't be shared; ``left``: why not all of them
    are. ``names``: top-level modules that are loaded; ``missing``: those looked for in vain; ``endings``: of the files of modules.
    """

    pid: int
    link: socket.socket
    output: int
    names: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    endings: tuple[str, ...] = ()
    left: str = ""
    refused: str = ""
    running: dict[int, None] = field(default_factory=dict)
    last_use: float = field(default_factory=time.monotonic)
    ended: list[ProcessEnd] = field(default_factory=list)
    _looked: float = field(default_factory=time.monotonic)
    _halted: bool = False

    def send(self, message: tuple[Any, ...], descriptors: tuple[int, ...] = ()) -> None:
        """A message, and descriptors for it. Raises Gone."""
        data = marshal.dumps(message, 2)
        data = len(data).to_bytes(4, "little") + data
        try:
            sent = socket.send_fds(self.link, [data], descriptors) if descriptors else 0
            self.link.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError):
            raise ServerGone(unread=True) from None

    def hear(self, patience: float = 60.0) -> tuple[Any, ...]:
        """The next message; an end of a case is also put down. Raises Gone; a server silent for ``patience`` seconds is ended."""
        head = self._read(4, patience)
        answer: tuple[Any, ...] = marshal.loads(self._read(int.from_bytes(head, "little"), patience))
        if answer[0] == "ended":
            _, pid, status, cpu, memory = answer
            self.running.pop(pid, None)
            self.ended.append(ProcessEnd(pid, status, cpu, memory * 1024))
        return answer

    def began(self, pid: int) -> int:
        """A case runs, as this process."""
        self.running[pid] = None
        self.last_use = time.monotonic()
        return pid

    def stopped(self) -> bool:
        """Whether it has been stopped (SIGSTOP, by a debugger or by mistake) for a while: asked twice, `STOPPED` seconds apart."""
        now = time.monotonic()
        if now - self._looked < STOPPED:
            return False
        before, self._looked = self._halted, now
        self._halted = _is_stopped(self.pid)
        return before and self._halted

    def has_news(self) -> bool:
        """Whether `hear` would not wait."""
        poll = select.poll()
        poll.register(self.link, select.POLLIN)
        return bool(poll.poll(0))

    def last_line(self) -> str:
        """The last line that is not blank, of what it wrote (errors end with what they are)."""
        text = os.pread(self.output, 65536, 0).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def reads_folder(self, folder: str, variables: Mapping[str, str]) -> str:
        """What in the script's folder and in the current one its imports would have read, in words; "" for nothing."""
        try:
            for entry in os.listdir(folder):
                stem, _, suffix = entry.partition(".")
                if stem in self.names:
                    if f".{suffix}" in self.endings or (not suffix and self._is_package(os.path.join(folder, entry))):
                        return f"{entry} in the script's folder comes before the module {stem}"
                elif stem in self.missing and (f".{suffix}" in self.endings or os.path.isdir(os.path.join(folder, entry))):
                    return f"{entry} in the script's folder is looked for by a module"
        except OSError:
            return "the script's folder can't be read"
        for module, name in _READS_FOLDER.items():
            if module in self.names and os.path.exists(name):
                return f"{module} reads {name} of the current folder"
        settings = variables.get("MATPLOTLIBRC", "/")
        if "matplotlib" in self.names and not os.path.isabs(settings):
            return f"matplotlib reads {settings} of the current folder"
        return ""

    def _is_package(self, path: str) -> bool:
        return any(os.path.exists(os.path.join(path, f"__init__{ending}")) for ending in self.endings)

    def _read(self, size: int, patience: float) -> bytes:
        data = b""
        poll = select.poll()
        poll.register(self.link, select.POLLIN)
        end = time.monotonic() + patience
        while len(data) < size:
            while not poll.poll(STOPPED * 1000):
                if self.stopped() or time.monotonic() >= end:
                    os.kill(self.pid, signal.SIGKILL)  # what is read next tells whether it had read our request
            try:
                chunk = self.link.recv(size - len(data))
            except ConnectionResetError:
                raise ServerGone(unread=True) from None  # so the kernel says it (unix(7)): there was something left to read
            if not chunk:
                raise ServerGone(unread=False)
            data += chunk
        return data


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except (OSError, IndexError):
        return False


@functools.cache
def unfit_python(environment: str) -> str:
    """Why an environment's Python can't fork for cases, as far as its pyvenv.cfg tells; "" when it can."""
    try:
        lines = read_regular(os.path.join(environment, "pyvenv.cfg")).decode(errors="replace").splitlines()
        facts = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    except OSError:
        return ""
    kind, version = facts.get("implementation", "CPython"), facts.get("version_info", "")
    if kind != "CPython":
        return f"it needs CPython, and the environment has {kind}"
    if version.startswith("3.") and int(version.split(".")[1]) < OLDEST:
        return f"it needs Python 3.{OLDEST} or newer, and the environment has {version}"
    return ""
