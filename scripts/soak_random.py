"""The randomised soak: two users, four processes, whatever commands, half of them killed at any instant (see scripts/soak)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sharedenv.pool.undertaker import STILLBORN
from sharedenv.run.case import INTERRUPTED
from tests.faults import as_user
from tests.lab import ALICE, BOB, LAB, PYTHON, Lab, new_lab
from tests.wheels import make_wheel

KEYS = 4
COPIES = 3  #: of each script
LONGEST = 6.0  #: seconds after which a command that is to be killed is killed at the latest
PATIENCE = 240.0  #: seconds that a command may take
#: what a command may refuse, since another is at work: a pattern of what it says
REFUSED = re.compile(
    r"still running: |another process|is of another user|belongs to|others may have written|no earlier run|no run in |nothing to run|"
    r"has it|gave up waiting|is not built|was taken away while"
)


class Soak:
    """What the four have done. ``unexpected``: of those that were not killed, how they ended, as none should."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self._lock = threading.Lock()

    def work(self, user: int, end: float) -> None:
        """One command after another, until that time (monotonic)."""
        while time.monotonic() < end:
            with self._lock:
                words = self._words(user)
                limit = self.random.uniform(0.0, LONGEST) if self.random.random() < 0.5 else None
            self._one(user, words, limit)

    def _words(self, user: int) -> list[str]:
        key = self.random.randrange(KEYS)
        script = f"k{key}c0/script.py"
        stage = ["stage", "--to", str(self.lab.home(user) / "local"), script]
        choices: list[tuple[int, list[str]]] = [
            (3, ["build", script]),
            (3, ["build", "--rebuild", script]),
            (2, ["build", "--upgrade", script]),
            (2, ["verify", "--repair"]),
            (3, ["prune", "--unused-for", "0s"]),
            (2, stage),
            (4, ["run", "--insist", f"k{key}c*/script.py"]),
            (3, ["run", "--insist", "-j2", "k*/script.py"]),
            (3, ["run", "--resume", *self._own_run(user)]),
            (4, ["exec", script]),
            (1, ["status"]),
        ]
        return self.random.choices([words for _, words in choices], [weight for weight, _ in choices])[0]

    def _own_run(self, user: int) -> list[str]:
        runs = self.lab.pool / "runs"
        own = sorted(path.name for path in runs.iterdir() if path.name[0] != "." and path.stat().st_uid == user) if runs.exists() else []
        return ["--run-id", own[-1]] if own else []

    def _one(self, user: int, words: list[str], limit: float | None) -> None:
        home = self.lab.home(user)
        argv = [*as_user(user, user, LAB), PYTHON, "-m", "sharedenv", *words]
        env = {**self.lab.env, "HOME": str(home), "UV_CACHE_DIR": str(home / "cache"), "TMPDIR": str(home / "tmp")}
        process = subprocess.Popen(
            argv, cwd=self.lab.project, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        killed = False
        try:
            told, _ = process.communicate(timeout=PATIENCE if limit is None else limit)
        except subprocess.TimeoutExpired:
            killed = True
            end_all(process.pid)
            told, _ = process.communicate()
            if limit is None:
                self._note(f"{words}: waited for {PATIENCE:.0f} s\n{told}")
        name = " ".join(words[:2] if words[1:] and words[1].startswith("--") else words[:1])
        self.counts[f"{name}{' killed' if killed else ''}"] += 1
        if not killed and process.returncode != 0:
            if REFUSED.search(told) and process.returncode != 70:
                self.counts[f"{name} refused"] += 1
            else:
                self._note(f"{words}: exit {process.returncode}\n{told[-2000:]}")

    def _note(self, text: str) -> None:
        with self._lock:
            self.unexpected.append(text)
            print(text, file=sys.stderr, flush=True)


def end_all(pid: int) -> None:
    """KILL to a process and all below it; none of them starts another meanwhile."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            os.kill(each, signal.SIGSTOP)
        for file in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, file.read_text().split())
    for each in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def random_soak(folder: Path, seconds: float, seed: int, note: Callable[[str], None] = lambda _: None) -> dict[str, object]:
    """Runs it for so long; figures, of which `failures`, `failed`, `fail verify` and `left` must be 0."""
    for version in ("1.0", "1.1"):
        make_wheel(folder / "wheels", "alpha", version, modules={"alpha.py": f"VERSION = '{version}'\n", "many/__init__.py": "",
                                                                 **{f"many/m{i}.py": f"x = {i}\n" for i in range(100)}})  # fmt: skip
    root = Path(__file__).resolve().parent.parent
    env = {"LC_ALL": "C.UTF-8", "PYTHONPATH": str(root), "UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never"}
    with new_lab(env, folder / "wheels") as lab:
        lab.env["SHAREDENV_UV"] = _uv(lab)
        for key in range(KEYS):
            for copy in range(COPIES):
                body = "import time, alpha, many.m99; time.sleep(hash(time.time()) % 200 / 1000); print('ran')"
                lab.script(f"k{key}c{copy}/script.py", f"alpha>=0.{key}", body)
        for user in (ALICE, BOB):
            (lab.home(user) / "tmp").mkdir()
            os.chown(lab.home(user) / "tmp", user, LAB)
        lab.call(ALICE, "build", "--shared-group", "k0c0/script.py")
        soak = Soak(lab, seed)
        end = time.monotonic() + seconds
        workers = [threading.Thread(target=soak.work, args=(user, end)) for user in (ALICE, BOB, ALICE, BOB)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        note(json.dumps(dict(sorted(soak.counts.items()))))
        return {"seed": seed, "commands": soak.counts.total(), **judged(lab, soak)}


def judged(lab: Lab, soak: Soak) -> dict[str, object]:
    """What has come of it: failed cases, environments that fail verify, what is left where prune has been."""
    failed = []
    for file in lab.pool.glob("runs/*/results-*.jsonl"):
        for line in file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                # what was ended with its run: by the signal that we sent
                ended = record.get("signal") == signal.SIGKILL or record.get("error", "").startswith(INTERRUPTED)
                if record.get("status") not in (0, None) and not ended:
                    failed.append(f"{file}: {line[:600]}")
    for line in failed:
        print(line, file=sys.stderr)
    lab.call(ALICE, "build", *(f"k{key}c0/script.py" for key in range(KEYS)))
    told = lab.call(BOB, "verify", "--json", status=None).stdout
    unsound = [item for item in json.loads(told)["environments"] if not item["sound"]]
    for item in unsound:
        print(item, file=sys.stderr)
    time.sleep(STILLBORN)  # a lease whose holder died before he had signed it
    named = set()
    for user in (ALICE, BOB):
        pruned = json.loads(lab.call(user, "prune", "--unused-for", "0s", "--json").stdout)
        named |= {item["path"] for item in pruned["rubbish"] if not item["removed"]}
    left = [str(path) for name in ("tmp", "trash", "locks") for path in (lab.pool / name).iterdir() if str(path) not in named]
    for path in left:
        held = Path(path).read_bytes()[:300] if Path(path).is_file() else b"(a folder)"
        print(f"left: {path}: {held!r}, {time.time() - Path(path).stat().st_mtime:.0f} s old", file=sys.stderr)
    return {"failures": len(soak.unexpected), "failed": len(failed), "fail verify": len(unsound), "left": len(left)}


def _uv(lab: Lab) -> str:
    """A uv that every user may run: a copy, since the one beside this Python may lie in a home."""
    uv = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv") or "uv"
    return str(shutil.copy2(uv, lab.world / "uv"))
