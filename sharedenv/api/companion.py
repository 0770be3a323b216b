"""A process that does the work of one call, heard from the thread that called.

The loop that runs cases hears signals, waits for children and changes the current folder, and the memory of a case is measured from that
of its parent: in the caller's own process it would be in the way of whoever else lives there. In one of its own it is what the command is.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO

from sharedenv.api.jobs import JoinJob, RunJob
from sharedenv.api.outcome import RunResult
from sharedenv.cluster.submit import own_python
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.process import companion

_ROOM = 100  # messages that wait for the caller


def work_done(job: RunJob | JoinJob, hear: Callable[[object], object]) -> RunResult:
    """Has a job done and returns what came of it; ``hear`` is given what is told meanwhile (api/worker.py), in this thread.

    Whatever is raised here meanwhile, KeyboardInterrupt or an error of ``hear``, ends the cases at work and is raised when the journal
    is written. Raises SharedenvError.
    """
    interruption: BaseException | None = None
    with tempfile.TemporaryFile() as log, companion(own_python("sharedenv.api.worker"), env=os.environ, stderr=log) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has died, and the next lines tell why
            pickle.dump(job, process.stdin)
            process.stdin.flush()
        answer = None
        with _messages(process.stdout) as messages:
            while True:
                try:
                    message = messages.get()
                    if message is None:
                        break
                    if isinstance(message, RunResult | Exception):
                        answer = message
                    elif interruption is None:
                        hear(message)
                except BaseException as error:  # the second ends at once what has got its time to end
                    interruption = interruption or error
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGINT)
        if interruption is not None:
            raise interruption
        process.wait()
        if answer is None:
            raise _died(process.returncode, log)
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextlib.contextmanager
def _messages(stream: IO[bytes]) -> Iterator[queue.Queue[object]]:
    """What comes from a stream, None at its end. Read by a thread, in which no Ctrl-C can come between two halves of a message."""
    messages: queue.Queue[object] = queue.Queue(_ROOM)

    def read() -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                messages.put(pickle.load(stream))
        messages.put(None)

    thread = threading.Thread(target=read, name="sharedenv-answers", daemon=True)
    thread.start()
    try:
        yield messages
    finally:
        while thread.is_alive():  # left in a hurry: it ends with the process
            with contextlib.suppress(queue.Empty):
                messages.get(timeout=0.1)


def _died(status: int, log: IO[bytes]) -> SharedenvError:
    log.seek(0)
    said = log.read().decode(errors="replace").strip()
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit {status}"
    return SharedenvError(
        "the process that works for this call has died",
        cause=f"{how}: {said}" if said else how,
        hint="sharedenv status",
        exit_code=EXIT_FAILED,
    )
