"""What the workers of one job share on a node: a folder in /dev/shm, with a file for each slot, device and core that is taken.

Who has one holds a flock on it, and so do the processes of the cases that use it, which inherit the descriptor: the kernel drops it
with the last of them, whatever ended them. A flock on the folder makes one look at a time. Files are taken away by who finds that
nobody holds them, under that flock; a folder that has gone meanwhile is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Mapping

from sharedenv.run.place import SLOT
from sharedenv.run.variables import RUN

_ROOTS = ("/dev/shm", "/tmp")  #: the first that there is: of the node, never of a network
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW  # how a folder is opened
#: what names a job, where there is one
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "LSB_JOBINDEX", "JOB_ID", "SGE_TASK_ID")


class Node:
    """What is shared under one name. Raises OSError wherever its folder can't be made or read."""

    def __init__(self, name: str, root: str | None = None) -> None:
        above = root or next((each for each in _ROOTS if os.path.isdir(each) and os.access(each, os.W_OK)), _ROOTS[-1])
        self._above = os.path.join(above, f"sharedenv-{os.getuid()}")
        self._folder = os.path.join(self._above, name)
        with self.turn():
            pass  # whoever can't share finds out before the first case

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else takes anything meanwhile."""
        while True:
            try:
                _make(self._above)
                _make(self._folder)
                folder = os.open(self._folder, _FOLDER)
            except FileNotFoundError:
                continue  # somebody has swept it away in between
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                if _is(folder, self._folder):
                    yield
                    return
            finally:
                os.close(folder)

    def hold(self, name: str) -> int | None:
        """Takes something: the descriptor that holds it; None where another has it. Only in one's turn."""
        descriptor = os.open(os.path.join(self._folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return descriptor

    def hold_number(self, prefix: str) -> tuple[int, int]:
        """Takes the lowest number that is free, from 1; the number and the descriptor. Only in one's turn."""
        number = 1
        while (descriptor := self.hold(f"{prefix}-{number}")) is None:
            number += 1
        return number, descriptor

    def sweep(self) -> None:
        """Takes away what nobody holds, here and of jobs that are over. Best effort."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._above):
                _sweep(os.path.join(self._above, name))
            os.rmdir(self._above)


def node_of(environ: Mapping[str, str]) -> Node:
    """What is shared by the job that a process with these variables is in. Raises OSError.

    A case has devices and CPUs of its own, which those who work inside of it share.
    """
    job = [environ[name] for name in _JOBS if environ.get(name)] or ["nojob"]
    case = [environ[name] for name in (RUN, SLOT) if environ.get(name)]
    return Node("-".join(re.sub(r"[^\w.]", "_", part) for part in (*job, *case)))


def beside(environ: Mapping[str, str]) -> int:
    """How many tasks of this step are on a node with this one, itself too: of several nodes, on the one with the most."""
    # `srun -n 6`: 4(x1),2 are its tasks on each node
    return max([1, *(int(number) for number in re.findall(r"(?:^|,)(\d+)", environ.get("SLURM_STEP_TASKS_PER_NODE", ""), re.ASCII))])


def _make(path: str) -> None:
    """A folder of ours that nobody else may write to: in /dev/shm anybody may make one of its name. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(1, "it is another user's, or others may write to it", path)


def _is(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sweep(folder: str) -> None:
    with contextlib.suppress(OSError):
        held = os.open(folder, _FOLDER)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
                os.close(descriptor)
            os.rmdir(folder)  # fails where something is held
        finally:
            os.close(held)
