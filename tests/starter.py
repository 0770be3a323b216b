"""Starts of the command without the tenth of a second in which Python loads it: a process that has loaded all forks for each.

What it forks is a process of its own, with the variables, the folder and the streams that a start would give it, and it ends as
`python -m sharedenv` ends. What a start itself loads and does is for real starts: `Project.start`, and `exec`, `which`, `activate`.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import posix
import resource
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from sharedenv import process

HERE = Path(__file__).parent.parent
#: what Python and the C library read when they start: with another value, a start is a real one
_READ_AT_START = ("PYTHON", "LC_", "LD_", "LANG", "TZ", "GLIBC_", "MALLOC_")
#: modules that are programs of their own, or run in another Python
_PROGRAMS = ("sharedenv.__main__", "sharedenv.loader", "sharedenv.fast", "sharedenv.run.preload.forkserver")


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


def _inherited() -> tuple[object, ...]:
    """What a process has from its parent besides variables, folder and streams."""
    limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
    ignored = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_IGN]
    return (
        process.umask(), limits, os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0), signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        ignored,
    )  # fmt: skip


class Starter:
    """A process that forks. ``env``: the variables of a usual start."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._at_start, self._inherited = _at_start(env), _inherited()
        self._env = {**env, **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}}
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def _server(self) -> socket.socket:
        """What asks the server; the first who wants to starts it."""
        with self._lock:
            if self._socket is None or (self._process and self._process.poll() is not None):
                self.end()
                self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    argv = [sys.executable, "-m", "tests.starter", str(theirs.fileno())]
                    null = subprocess.DEVNULL
                    self._process = subprocess.Popen(argv, env=self._env, cwd=HERE, pass_fds=[theirs.fileno()], stdin=null, stdout=null)
            return self._socket

    def takes(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> bool:
        """Whether a forked process would be as a started one is."""
        fast = not arguments or arguments[0] in ("exec", "which", "activate")
        return not fast and os.access(cwd, os.X_OK) and _at_start(env) == self._at_start and _inherited() == self._inherited

    def call(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, seconds: float) -> tuple[int, str, str]:
        """Exit status (negative: the signal), stdout and stderr. Raises subprocess.TimeoutExpired."""
        ours, theirs = zip(*(os.pipe() for _ in range(3)), strict=True)  # what it prints, what it says, how it ends
        request = os.memfd_create("request")
        os.write(request, json.dumps([list(arguments), dict(env), str(cwd)]).encode())
        try:
            socket.send_fds(self._server(), [b"start"], [request, *theirs])
        finally:
            for descriptor in (request, *theirs):
                os.close(descriptor)
        read: list[bytes] = [b"", b"", b""]

        def reader(index: int) -> None:
            with open(ours[index], "rb") as file:
                read[index] = file.read()

        readers = [threading.Thread(target=reader, args=(index,), daemon=True) for index in range(3)]
        for each in readers:
            each.start()
        for each in readers:
            each.join(seconds)
        if any(each.is_alive() for each in readers):
            raise subprocess.TimeoutExpired(["sharedenv", *arguments], seconds)
        stdout, stderr = (text.decode().replace("\r\n", "\n").replace("\r", "\n") for text in read[:2])  # as text of subprocess is
        return int(read[2]), stdout, stderr

    def end(self) -> None:
        """Ends it, and what it has started and nobody saw the end of."""
        if self._socket and self._process:
            self._socket.close()
            self._process.wait(60)


def _serve(control: socket.socket) -> None:
    """Forks for each request; returns in what was forked, and in the server itself when nobody asks any more."""
    # tests send signals to their own process group, as a batch system does
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    waiting: dict[int, tuple[int, int]] = {}  # a child's pidfd → its number, and where its end is told
    ready = selectors.DefaultSelector()
    ready.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is not control:
                pid, ends = waiting.pop(key.fd)
                ready.unregister(key.fd)
                os.write(ends, b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(ends)
                os.close(key.fd)
                continue
            message, descriptors, _, _ = socket.recv_fds(control, 16, 4)
            if not message:
                for pid, _ in waiting.values():
                    os.kill(pid, signal.SIGKILL)
                sys.exit()
            request, *streams, ends = descriptors
            if (pid := os.fork()) == 0:
                for number, handler in before.items():
                    signal.signal(number, handler)
                ready.close()
                control.close()
                _become(request, streams)
                return
            pidfd = os.pidfd_open(pid)
            waiting[pidfd] = pid, ends
            ready.register(pidfd, selectors.EVENT_READ)
            for descriptor in (request, *streams):
                os.close(descriptor)


def _become(request: int, streams: Sequence[int]) -> None:
    """Makes this process one that was started so: variables, folder, streams, words."""
    os.lseek(request, 0, os.SEEK_SET)
    with open(request, "rb", closefd=False) as file:
        arguments, env, cwd = json.load(file)
    for number, descriptor in enumerate(streams, 1):
        os.dup2(descriptor, number)
    os.closerange(3, 4096)
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        new = open(old.fileno(), "w", encoding=old.encoding, errors=old.errors, newline="\n", buffering=-1, closefd=False)
        new.reconfigure(line_buffering=name == "stderr")
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    os.environ.clear()
    os.environ.update(env)
    if posix.environ is not os.environ._data:  # type: ignore[attr-defined]  # Python ≥ 3.14 has two
        posix.environ.clear()
        posix.environ.update(os.environb)
    os.chdir(cwd)
    sys.path[0] = os.getcwd()
    sys.argv[1:] = arguments


def _end(code: str | int | None) -> None:
    """Ends as Python does, but frees nothing: most of what is loaded would be copied for it. A message as ``code`` is Python's to print."""
    if isinstance(code, str):
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]  # typeshed leaves out what Python itself calls at its end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream and not stream.closed:
            stream.flush()
    os._exit((code or 0) & 0xFF)


def _load_all() -> None:
    """What any command loads."""
    import sharedenv

    for module in pkgutil.walk_packages(sharedenv.__path__, "sharedenv."):
        if not module.name.startswith(_PROGRAMS):
            importlib.import_module(module.name)


if __name__ == "__main__":
    import gc

    _control = socket.socket(fileno=int(sys.argv.pop()))
    os.set_inheritable(_control.fileno(), False)
    _load_all()
    if "coverage" in sys.modules and (_measured := sys.modules["coverage"].Coverage.current()):
        _measured.save()  # what is loaded: else each that is forked would tell of it again
    gc.freeze()
    _serve(_control)
    try:
        runpy.run_module("sharedenv", run_name="__main__", alter_sys=True)
        _end(0)
    except SystemExit as _exit:
        _end(_exit.code)
