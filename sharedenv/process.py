"""The only module that starts processes (exec and the fork server's children aside)."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, TypeVar

from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.values import frozen

if TYPE_CHECKING:
    import subprocess

_Result = TypeVar("_Result")

_LISTEN = 1.0  # seconds between looks at what a program says

_live_lock = threading.Lock()


class Helpers:
    """The processes that were started together, which `stop_all` ends; none is started afterwards."""

    def __init__(self) -> None:
        self.live: set[subprocess.Popen[str]] = set()
        self.stopping = False


class _Ours(threading.local):
    """Whom the processes belong to that a thread starts: all of one command are one's."""

    helpers = Helpers()


_ours = _Ours()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """What this thread starts meanwhile, and the threads that `helping` hands it to, is ended by itself: of several calls in one process,
    each ends its own, and a later one starts anew.
    """
    before = _ours.helpers
    _ours.helpers = Helpers()
    try:
        yield
    finally:
        _ours.helpers = before


def helping() -> Callable[[], None]:
    """What a thread calls first that starts processes for this one."""
    helpers = _ours.helpers

    def begin() -> None:
        _ours.helpers = helpers

    return begin


def beside(call: Callable[[], _Result]) -> Callable[[], _Result]:
    """Begins a call in a thread of its own; what is returned waits for its end, and gives or raises what it does.

    Where no thread is to be had, the call is made then.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - a run with a full pool does without

    executor = ThreadPoolExecutor(1, "beside", initializer=helping())
    try:
        future = executor.submit(call)
    except RuntimeError:
        return call
    executor.shutdown(wait=False)
    return future.result


@frozen
class Finished:
    """How a helper process ended: exit status (negative: the signal that killed it), its output."""

    status: int
    stdout: str
    stderr: str


def capture(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    tell: Callable[[str], None] | None = None,
) -> Finished:
    """Runs a program to its end; ``stdin`` is its input (none by default). Raises OSError when it can't be started.

    After ``timeout`` seconds it is killed, and what it had to say is that it did not answer. ``tell`` is given what it says on stderr
    while it goes on.
    """
    import subprocess  # noqa: PLC0415 - a run with a full pool does without

    pipe = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    with _started(argv, env, cwd, pipe, subprocess.PIPE) as process:
        if tell is not None:
            _listen(process, tell)
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            return Finished(-signal.SIGKILL, "", f"no answer within {timeout:g} s")
    return Finished(process.returncode, stdout, stderr)


def _listen(process: subprocess.Popen[str], tell: Callable[[str], None]) -> None:
    """Waits for the end of a process and tells what it says meanwhile."""
    import subprocess  # noqa: PLC0415 - as above

    heard = 0
    while True:
        try:
            process.communicate(timeout=_LISTEN)
        except subprocess.TimeoutExpired as so_far:
            said = bytes(so_far.stderr or b"")
            if text := said[heard:].decode(errors="replace").strip():
                tell(text)
            heard = len(said)
        else:
            return


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """TERM and HUP (a lost ssh) end what is captured meanwhile, as Ctrl-C does, where nobody hears or ignores them: in the main thread,
    since no other may say who hears a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def capture_to(log: IO[str], argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> Finished:
    """As capture, with the program's stderr written to an open ``log`` as it comes, so that others can follow it.

    What it makes is for nobody else to write, whatever the umask.
    """
    import subprocess  # noqa: PLC0415 - as above

    log.flush()
    start = log.tell()
    with _started(argv, env, cwd, subprocess.DEVNULL, log, umask() | stat.S_IWGRP | stat.S_IWOTH) as process:
        stdout, _ = process.communicate()
    log.seek(0, os.SEEK_END)
    with open(log.name, encoding="utf-8", errors="replace") as reader:
        reader.seek(start)
        return Finished(process.returncode, stdout, reader.read())


def umask() -> int:
    """The umask of this process, read without setting it where the kernel tells: threads start programs meanwhile."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


def limit_error(error: BaseException, exit_code: int = EXIT_FAILED) -> SharedenvError | None:
    """The error for a thread, a process or a file that the kernel refuses for their number; None when ``error`` tells of
    something else.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EMFILE:
        cause = "the limit of this process's open files is reached"
        return SharedenvError("can't open another file", cause=cause, hint="ulimit -n", exit_code=exit_code)
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":  # Python has no error of its own for it
        what = "thread"
    elif number == errno.EAGAIN:
        what = "process"
    else:
        return None
    cause = "the limit of this user's processes and threads, or that of the job, is reached"
    return SharedenvError(f"can't start another {what}", cause=cause, hint="ulimit -u", exit_code=exit_code)


def stop_all() -> None:
    """Ends every process started by capture (see `apart`) that still runs, with what it started: TERM to their groups.

    Called when the user interrupts: the threads that wait for these processes then come to their end. None is started
    afterwards.
    """
    helpers = _ours.helpers
    with _live_lock:
        helpers.stopping = True
        for process in helpers.live:
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass


def stopping() -> bool:
    """Whether stop_all was called: whoever waits in a thread has to come to its end too."""
    return _ours.helpers.stopping


class _started:
    """A process in a group of its own, known to stop_all while it lives."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        stdin: int,
        stderr: int | IO[str],
        umask: int = -1,
    ) -> None:
        import subprocess  # noqa: PLC0415 - as above

        self.helpers = _ours.helpers
        with _live_lock:
            if self.helpers.stopping:
                raise KeyboardInterrupt
            self.process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                errors="replace",
                process_group=0,
                umask=umask,
            )
            self.helpers.live.add(self.process)

    def __enter__(self) -> subprocess.Popen[str]:
        return self.process

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with _live_lock:
            self.helpers.live.discard(self.process)


def reap_strangers(ours: Container[int]) -> None:
    """Waits for those children that have ended and that nobody here started: a subreaper is given the orphans of those it
    started. ``ours``: children of `spawn` that their owners wait for.
    """
    with _live_lock:
        known = {process.pid for process in _ours.helpers.live}
        try:
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if ended.si_pid in ours or ended.si_pid in known:
                    return  # its owner comes first
                os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            pass


@contextlib.contextmanager
def companion(argv: Sequence[str], *, env: Mapping[str, str], stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works for this one, spoken to by pipes; it leads a group of its own: whether Ctrl-C is for it, its owner says.

    The end of its standard input tells it to end; it is waited for. Raises OSError when it can't be started.
    """
    import subprocess  # noqa: PLC0415 - as above

    process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, process_group=0)
    try:
        yield process
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]  # as above


#: ignored by Python itself in this process; an ignored signal stays ignored through exec, so a child gets its default
#: back
_IGNORED_BY_PYTHON = tuple(getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name))


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | Mapping[bytes, bytes],
    stdin: int,
    stdout: int,
    stderr: int,
    inherited: Sequence[int],
) -> int:
    """Starts a program in the current folder as leader of a new process group; returns its number. Raises OSError.

    ``argv[0]`` is a path. ``inherited`` descriptors stay open in it under their own numbers (duplicated onto
    themselves, which takes the close-on-exec mark off in the child alone); all others are closed. Whoever starts it
    must wait for it.
    """
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2)]
    actions += [(os.POSIX_SPAWN_DUP2, descriptor, descriptor) for descriptor in inherited]
    return os.posix_spawn(
        argv[0], list(argv), env, file_actions=actions, setpgroup=0, setsigmask=(), setsigdef=_IGNORED_BY_PYTHON
    )
