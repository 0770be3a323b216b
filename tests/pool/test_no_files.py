"""What isn't a file in the place of a pool's files: never waited for, never read without end, and said where it matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import How, create_array, note_jobs
from sharedenv.pool.layout import Layout
from sharedenv.pool.owner import this_process
from sharedenv.run.journal.runs import list_runs
from sharedenv.start.regular import read_regular
from tests import damage
from tests.conftest import Project

ROOT = Path(__file__).parent.parent.parent
SAID = {"pipe": "it is a pipe", "zero": "it is a link", "socket": "it is a socket", "folder": "it is a folder", "huge": "it has more than 16 MB"}


def filled(project: Project) -> Path:
    """A pool with all that a pool has: an environment, its archive, versions, a failure, two runs, one of them of an array."""
    project.script("s.py", ["tool"], "import sys; print('ran'); sys.exit(3)")
    project.call("run", "s.py", status=1)
    project.call("run", "--shard", "1/1", "s.py", status=1)
    layout = Layout(str(project.pool))
    [_, first] = list_runs(layout.runs)
    note_jobs(create_array(first, 1, first.cases(), 1, How()), "4711", "")
    project.call("stage", "--to", str(project.path / "local"), "s.py")
    project.script("bad.py", ["no-such-package"], "")
    project.call("build", "bad.py", status=3)
    held = project.environments[0].name.partition("-")[0]
    [key] = [path.name for path in (project.pool / "keys").iterdir() if path.name.startswith(held)]
    (project.pool / "locks" / key).write_text(f"token=abc\nsharedenv={json.dumps({**this_process().record(), 'start': '1'})}\n")
    folder = project.pool / "tmp" / f"{key[:12]}-abcdef"
    folder.mkdir()
    (folder / "owner.json").write_text(json.dumps({"host": "elsewhere", "machine": "x", "pid": 1, "start": "1"}))
    return project.pool


def trouble(project: Project, kinds: list[str]) -> list[dict[str, object]]:
    """What commands do wrong over a pool with such things in the places of its files (none: damage.IN_TURN)."""
    argv = [sys.executable, str(ROOT / "tests" / "damage.py"), str(project.path), *kinds]
    env = {**project.env, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


#: What may differ from place to place is whether it is read as a regular file alone (a pipe shows it: the others are told apart in
#: read_regular, for all places), and what becomes of it where it is written or removed (a folder shows it). So those two stand
#: everywhere, and the others in turn.
@pytest.mark.slow
@pytest.mark.parametrize("kinds", [["pipe"], ["folder"], []], ids=["pipe", "folder", "in turn"])
def test_every_command_goes_on_over_what_is_no_file(project: Project, kinds: list[str]) -> None:
    filled(project)
    assert trouble(project, kinds) == []


@pytest.mark.parametrize("kind", damage.KINDS)
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waited for, nor read without end, nor opened through a link."""
    monkeypatch.chdir(tmp_path)
    damage.KINDS[kind](str(tmp_path / "it"))
    with pytest.raises(OSError, match=SAID[kind]):
        read_regular(str(tmp_path / "it"))


def test_what_is_in_the_place_of_a_file_is_said(project: Project) -> None:
    filled(project)
    [run, *_] = sorted(path for path in (project.pool / "runs").iterdir() if path.name[0] != ".")[::-1]
    for name, kind, said in (("run.json", "pipe", "it is a pipe"), ("plan.jsonl", "huge", "a line of more than 64 MB"), ("plan.jsonl", "zero", "it is a link")):
        kept = run / f"{name}.kept"
        (run / name).rename(kept)
        damage.KINDS[kind](str(run / name))
        assert said in project.call("status", run.name, status=None).stderr
        (run / name).unlink()
        kept.rename(run / name)
    manifest = project.environments[0] / "sharedenv.json"
    manifest.parent.chmod(0o755)
    manifest.unlink()
    os.mkfifo(manifest)
    assert "its manifest is a pipe" in project.call("verify", status=1).stdout
    assert "built environment" in project.call("build", "s.py").stderr
    os.remove(project.pool / "pool.json")
    os.mkfifo(project.pool / "pool.json")
    told = project.call("list", status=2).stderr
    assert "its pool.json is a pipe" in told
    os.system(told.partition("hint: ")[2])
    project.call("build", "--rebuild", "s.py")
    project.call("list")
