"""A program that puts what isn't a file in the place of each file of a pool, runs commands, and tells what came of them.

Words: the project's folder, kinds of things (see KINDS; none: for each file one of IN_TURN). One JSON line on stdout a command that waited,
or ended by a signal, in a bug or without a word for what it couldn't do. Each command is a fork that has all imported, with so much memory and time as a sound one never needs; the pool is what it was before, each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

MEMORY = 3 << 30  #: bytes
PATIENCE = 30.0  #: seconds


def _socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        folder, name = os.path.split(path)
        os.chdir(folder)  # the name of a socket is short
        one.bind(name)


def _sparse(path: str) -> None:
    with open(path, "wb") as file:
        file.truncate(5 << 30)


KINDS: dict[str, Callable[[str], None]] = {
    "pipe": os.mkfifo,
    "zero": lambda path: os.symlink("/dev/zero", path),
    "socket": _socket,
    "folder": os.mkdir,
    "huge": _sparse,
}
IN_TURN = ("zero", "socket", "huge")

_RUNS = (("status",), ("status", "--all"), ("cancel",), ("prune", "--dry-run"), ("run", "--resume"))
_ENVIRONMENTS = (("list",), ("show", "s.py"), ("verify",), ("which", "s.py"), ("exec", "s.py"), ("build", "s.py"))
_OTHERS = (("list",), ("exec", "s.py"), ("build", "--rebuild", "s.py"), ("stage", "--to", "local", "s.py"), ("prune", "--unused-for", "0s"))


def commands_for(name: str) -> tuple[tuple[str, ...], ...]:
    """Those that read a file of a pool, or meet it; what changes the pool comes last."""
    if name.startswith("runs/"):
        return _RUNS
    if name.startswith("envs/"):
        return _ENVIRONMENTS
    return (*_RUNS[:2], *_OTHERS) if name == "pool.json" else _OTHERS


def files_of(pool: Path) -> list[str]:
    """The files of a pool, relative to it: of what packages and uv have put into environments, which are read alike, one of each kind."""
    found, seen = [], set()
    for path in sorted(pool.rglob("*")):
        name = str(path.relative_to(pool))
        if path.is_file() and not path.is_symlink():
            kind = path.suffix if "/lib/" in name else path.stem if "/bin/" in name else path.name if name.startswith("envs/") else name
            if kind not in seen:
                seen.add(kind)
                found.append(name)
    return found


def run(words: Sequence[str], said: Path) -> tuple[int | None, float, str]:
    """Runs a command in a fork: its exit status, minus the signal that ended it, or None when it waited too long; seconds; what it said."""
    began = time.monotonic()
    status = _wait(_start(words, said))
    return status, time.monotonic() - began, said.read_text(errors="replace")


def _start(words: Sequence[str], said: Path) -> int:
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        with said.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        sys.argv[:] = ["sharedenv", *words]
        from sharedenv.entry import main

        status = 70
        try:
            status = main()
        except SystemExit as end:
            status = int(end.code or 0) if not isinstance(end.code, str) else 1
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    return pid


def _wait(pid: int) -> int | None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


@contextlib.contextmanager
def damaged(pool: Path, name: str, kind: str) -> Iterator[None]:
    """The pool with something else in the place of a file; afterwards all is as it was."""
    before = pool.parent / "before"
    os.rename(pool, before)
    try:
        shutil.copytree(before, pool, symlinks=True)
        folder = (pool / name).parent
        mode = folder.stat().st_mode
        folder.chmod(0o755)
        (pool / name).unlink()
        KINDS[kind](str(pool / name))
        os.chdir(pool.parent)
        folder.chmod(mode)
        yield
    finally:
        os.system(f"chmod -R u+rwX '{pool}'")
        shutil.rmtree(pool)
        os.rename(before, pool)


def main() -> None:
    """As above."""
    project, *kinds = sys.argv[1:]
    pool = Path(project, ".sharedenv")
    os.chdir(project)
    # warm: all that the commands import
    import sharedenv.cli.main  # noqa: F401 - loaded once, before the forks

    said = Path(tempfile.mkstemp()[1])
    for number, name in enumerate(files_of(pool)):
        for kind in kinds or [IN_TURN[number % len(IN_TURN)]]:
            with damaged(pool, name, kind):
                told = [(words, *run(words, said)) for words in commands_for(name)]
            for words, status, took, text in told:
                bad = status is None or status < 0 or status == 70 or "Traceback" in text or (status != 0 and text.strip() in ("", "ran") and words[0] != "exec")
                if bad or "-v" in os.environ.get("DAMAGE", ""):
                    value = {"file": name, "kind": kind, "command": words, "status": status, "seconds": round(took, 1), "said": text}
                    print(json.dumps(value), flush=True)
    said.unlink()


if __name__ == "__main__":
    main()
