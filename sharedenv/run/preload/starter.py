"""`run --preload`: cases as forks of a process that has imported what they import (Linux).

One server process (forkserver/sitecustomize.py says how it works) for each environment and set of imports. What can't be
done so, or not safely, is started the plain way, and the user is told why, once for each reason.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from sharedenv.process import reap_strangers, spawn
from sharedenv.run.case import Case
from sharedenv.run.place import NOWHERE, Place
from sharedenv.run.preload.imports import Imports, find_imports
from sharedenv.run.preload.server import Server, ServerGone, unfit_python
from sharedenv.run.starter import FORK_SERVER, PlainStarter, Prepared, ProcessEnd
from sharedenv.start.regular import read_regular

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "forkserver")
VARIABLE = "SHAREDENV_FORK_SERVER"
SERVERS = 8  #: at most at a time: each holds all that it has imported
DEATHS = 3  #: of servers for one set of imports, before its cases are started the plain way
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
IDLE = 10.0  #: seconds after which a server that does nothing may make room for another
_PATIENCE = 600.0  # seconds for the imports: a cold parallel file system is slow, not dead
_HELD = 250  # descriptors: with three more, what one message takes
_ONCE = ("writes output", "makes temporary files")  #: what some modules do at their first import on a machine only
#: variables that make the interpreter itself speak, or go on, where only a start of its own does it at the right time
_SPEAKING = ("PYTHONINSPECT", "PYTHONVERBOSE", "PYTHONPROFILEIMPORTTIME", "PYTHONMALLOCSTATS", "PYTHONDUMPREFS")

#: interpreter, its variables, leases, statements: what one server is for
_Key = tuple[str, frozenset[tuple[str, str]], tuple[int, ...], tuple[tuple[str, tuple[str, ...]], ...]]


class PreloadStarter:
    """Starts cases as forks of servers, or the plain way. ``notice`` is told, once each, why the plain way was taken."""

    warms = True

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._plain = PlainStarter()
        self._notice = notice
        self._told: set[str] = set()
        self._servers: dict[_Key, Server] = {}
        self._opening: dict[_Key, threading.Thread | None] = {}  # importing; None: in a thread of our caller's
        self._seen: set[_Key] = set()
        self._deaths: dict[_Key, int] = {}
        self._processes: set[int] = set()  # of servers, until they were waited for
        self._closed = False
        self._orphans: dict[int, None] = {}  # cases of servers that died: the kernel made them our own children
        self._ended: list[ProcessEnd] = []
        self._number = 0
        self._lock = threading.RLock()
        self._events = select.epoll()  # one descriptor that is readable when some server has something to tell
        self._imports = functools.lru_cache(maxsize=64)(find_imports)
        self._children_come_to_us(True)

    def warm(self, script: str, prepared: Prepared) -> None:
        """Starts the server for a script before the first case needs it. From any thread."""
        imports = self._imports_of(script)
        if imports is None or imports.unparsed or self._unfit(prepared):
            return
        key = _key(prepared, imports)
        with self._lock:
            if not self._wanted(key):
                return
            self._opening[key] = None
        self._bring_up(key, script, prepared)

    def start(self, case: Case, prepared: Prepared, stdout: int, stderr: int, place: Place = NOWHERE) -> int:
        """Starts a case in a place and returns its process number. Raises OSError."""
        with self._lock:
            while True:
                try:
                    pid = self._fork(case, prepared, stdout, stderr, place)
                    break
                except ServerGone as gone:
                    if not gone.unread:
                        # it may be running, or have run: not twice
                        raise OSError(errno.EIO, "the process that forks for it died") from None
        return self._plain.start(case, prepared, stdout, stderr, place) if pid is None else pid

    def reap(self) -> Iterator[ProcessEnd]:
        """Those that ended since the last call."""
        yield from self._plain.reap()
        with self._lock:
            for key, server in tuple(self._servers.items()):
                if server.refused:
                    continue
                try:
                    while server.has_news():
                        server.hear()
                    if server.running and server.stopped():
                        os.kill(server.pid, signal.SIGKILL)  # its cases become ours, and go on
                except ServerGone:
                    self._bury(key, server)
                self._ended += server.ended
                server.ended.clear()
            self._ended += self._reap_orphans()
            reap_strangers({*self._plain.running, *self._processes, *self._orphans})
            ended, self._ended = self._ended, []
        yield from ended

    def insist(self, pid: int) -> None:
        """Kills the server of a case: one that is stopped, or stuck, tells nothing. `reap` sees that it is gone."""
        with self._lock:
            for server in self._servers.values():
                if pid in server.running:
                    os.kill(server.pid, signal.SIGKILL)

    def descriptors(self) -> tuple[int, ...]:
        """Readable when a server has something to tell."""
        return (self._events.fileno(),)

    def close(self) -> None:
        """Ends the servers: they see the end of their stream."""
        with self._lock:
            self._closed = True
            for server in self._servers.values():
                self._end(server)
            self._servers.clear()
            for pid in self._processes:
                os.kill(pid, signal.SIGKILL)  # it imports still, and nobody will need it
        for thread in tuple(self._opening.values()):
            if thread is not None:
                thread.join()
        self._events.close()
        self._children_come_to_us(False)
        self._plain.close()

    def _fork(self, case: Case, prepared: Prepared, stdout: int, stderr: int, place: Place) -> int | None:
        imports = self._imports_of(case.script)
        if imports is None:
            return None
        if why := imports.unparsed or self._unfit(prepared):
            self._plainly(why)
            return None
        key = _key(prepared, imports)
        server = self._server(key, case.script, prepared)
        if server is None:
            return None
        if server.refused:
            self._plainly(server.refused)
            return None
        if server.left or imports.left:
            self._say(f"not all imports are shared: {server.left or imports.left}")
        beside = os.path.dirname(os.path.realpath(case.script))
        if why := server.reads_folder(beside, prepared.variables):
            self._plainly(why)
            return None
        self._number += 1
        variables = {b"PWD": os.fsencode(case.folder), **place.variables}
        words = tuple(map(os.fsencode, case.arguments))
        request = ("start", self._number, os.fsencode(case.script), words, variables, place.cpus, os.fsencode(beside))
        folder = os.open(".", os.O_PATH | os.O_CLOEXEC)
        try:
            server.send(request, (stdout, stderr, folder, *place.descriptors[:_HELD]))
            while (answer := server.hear())[:2] not in (("started", self._number), ("failed", self._number)):
                pass
        except ServerGone:
            self._bury(key, server)
            raise
        finally:
            os.close(folder)
        if answer[0] == "failed":
            raise OSError(answer[2], os.strerror(answer[2]))
        return server.began(answer[2])

    def _imports_of(self, script: str) -> Imports | None:
        try:
            return self._imports(read_regular(script, follow=True))
        except OSError:
            return None  # the plain way says what is wrong

    def _unfit(self, prepared: Prepared) -> str:
        if sys.platform != "linux":
            return "only Linux can tell whether a process with these imports is safe to fork"
        path = prepared.variables.get("PYTHONPATH", "")
        if path and not all(os.path.isabs(entry) for entry in path.split(os.pathsep)):
            return "PYTHONPATH has entries that depend on the script's folder"
        for name in _SPEAKING:
            if prepared.variables.get(name):
                return f"{name} is set"
        return unfit_python(os.path.dirname(os.path.dirname(prepared.python)))

    def _plainly(self, why: str) -> None:
        self._say(f"{why}; started the plain way")

    def _say(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notice(f"--preload: {text}")

    def _server(self, key: _Key, script: str, prepared: Prepared) -> Server | None:
        """The server, where it is ready. Where not, it is brought up while cases go the plain way: nothing waits for it."""
        if key in self._servers:
            return self._servers[key]
        if self._deaths.get(key, 0) >= DEATHS:
            self._plainly("the process with these imports died several times")
        elif key in self._opening:
            pass
        elif key not in self._seen and key not in self._deaths:
            self._seen.add(key)  # it may be the only one of its kind
        elif not self._wanted(key):
            self._plainly(f"more than {SERVERS} different sets of imports at a time")
        else:
            thread = threading.Thread(target=self._bring_up, args=(key, script, prepared), daemon=True)
            self._opening[key] = thread
            try:
                thread.start()
            except RuntimeError as error:
                del self._opening[key]
                self._plainly(f"no thread can wait for the imports: {error}")
        return None

    def _wanted(self, key: _Key) -> bool:
        """Whether a server may be started for a key; one that is idle is ended if it takes the last place."""
        if key in self._servers or key in self._opening or self._closed:
            return False
        alive = [(server.last_use, key) for key, server in self._servers.items() if not server.refused]
        if len(alive) + len(self._opening) < SERVERS:
            return True
        for used, other in sorted(alive, key=lambda each: each[0]):
            if not self._servers[other].running and used < time.monotonic() - IDLE:
                self._end(self._servers.pop(other))
                return True
        return False

    def _bring_up(self, key: _Key, script: str, prepared: Prepared) -> None:
        server, why = None, ""
        try:
            server = self._open(key, script, prepared)
            if any(words in server.refused for words in _ONCE):
                self._end(server)
                server = self._open(key, script, prepared)
        except OSError as error:
            why = f"the process that imports can't be started: {error.strerror}"
        except ServerGone as gone:
            why = "the process that imports ended" + (f": {gone.said}" if gone.said else "")
        with self._lock:
            del self._opening[key]
            if server is None:
                self._deaths[key] = self._deaths.get(key, 0) + 1
            elif self._closed:
                self._end(server)
            else:
                self._servers[key] = server
                if not server.refused:
                    self._events.register(server.link, select.EPOLLIN)
            closed = self._closed
        if why and not closed:
            self._plainly(why)

    def _open(self, key: _Key, script: str, prepared: Prepared) -> Server:
        """Starts a server and waits for its imports. Raises OSError, ServerGone."""
        ours, theirs = socket.socketpair()
        output = os.memfd_create("sharedenv-preload")
        path = prepared.variables.get("PYTHONPATH")
        variables = dict(prepared.variables)
        variables["PYTHONPATH"] = f"{FOLDER}{os.pathsep}{path}" if path else FOLDER
        variables[VARIABLE] = f"{theirs.fileno()}{'' if path is None else '+'}"
        argv = (prepared.python, "-m", FORK_SERVER)
        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            inherited = (theirs.fileno(), *prepared.leases)
            with self._lock:
                pid = spawn(argv, env=variables, stdin=stdin, stdout=output, stderr=output, inherited=inherited)
                self._processes.add(pid)
        except OSError:
            ours.close()
            os.close(output)
            raise
        finally:
            os.close(stdin)
            theirs.close()
        server = Server(pid, ours, output)
        try:
            with tempfile.TemporaryDirectory(prefix="sharedenv-") as folder:
                name = os.path.basename(script)
                server.send(("preload", key[-1], os.fsencode(name), os.fsencode(folder), read_regular(script, follow=True)))
                answer = server.hear(_PATIENCE)
        except (ServerGone, OSError) as error:
            if isinstance(error, ServerGone):
                error.said = server.last_line()
            self._end(server)
            raise
        if answer[0] == "refused":
            written = server.last_line()
            server.refused = answer[1] + (f" ({written})" if written and answer[1].endswith("output") else "")
        else:
            _, names, missing, endings, server.left = answer
            server.names, server.missing, server.endings = frozenset(names), frozenset(missing), tuple(endings)
        return server

    def _bury(self, key: _Key, server: Server) -> None:
        """A server died: its cases live on, as our own children."""
        self._deaths[key] = self._deaths.get(key, 0) + 1
        self._servers.pop(key, None)
        self._ended += server.ended
        server.ended.clear()
        self._end(server)
        self._orphans.update(server.running)

    def _end(self, server: Server) -> None:
        try:
            self._events.unregister(server.link)
        except (FileNotFoundError, ValueError):
            pass  # it never got ready
        server.link.close()
        os.close(server.output)
        deadline = time.monotonic() + 5
        while os.waitpid(server.pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(server.pid, signal.SIGKILL)
            time.sleep(0.001)
        self._processes.discard(server.pid)

    def _reap_orphans(self) -> list[ProcessEnd]:
        found = []
        for pid in tuple(self._orphans):
            try:
                ended, status, usage = os.wait4(pid, os.WNOHANG)
            except ChildProcessError:
                # the server waited for it and could not tell us any more: how it ended is lost
                ended, status, usage = pid, int(signal.SIGKILL), None
            if ended:
                del self._orphans[pid]
                cpu = usage.ru_utime + usage.ru_stime if usage else 0.0
                found.append(ProcessEnd(pid, status, cpu, usage.ru_maxrss * 1024 if usage else 0))
        return found

    def _children_come_to_us(self, wanted: bool) -> None:
        """Whether a case whose server dies becomes a child of ours: so its end can still be learnt."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_SUBREAPER, int(wanted), 0, 0, 0)


def _key(prepared: Prepared, imports: Imports) -> _Key:
    return prepared.python, frozenset(prepared.variables.items()), prepared.leases, imports.statements
