"""Scripts that take their worker down: run last when the run goes on, and named."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Project

#: notes that it ran; kills the process that started it while there is a file `deadly`
BODY = """\
import os, signal, time
with open("../ran", "a") as file:
    file.write(os.path.basename(os.getcwd()) + "\\n")
if os.path.exists("deadly"):
    while len(open("../ran").read().split()) < int(open("deadly").read() or 0):
        time.sleep(0.01)
    time.sleep(0.2)  # the start of the one beside is put down
    os.kill(os.getppid(), signal.SIGKILL)
"""


def ran(project: Project) -> list[str]:
    """The cases that were started since the last look, in this order, by their numbers."""
    path = project.path / "ran"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return [name.removeprefix("case") for name in names]


def planned(run: Path) -> list[int]:
    return [json.loads(line)["sequence"] for line in (run / "plan.jsonl").read_text().splitlines()]


def test_a_script_that_takes_its_worker_down_is_run_last_and_named(project: Project) -> None:
    project.copies(4, [], BODY)
    (project.path / "case2" / "deadly").touch()
    project.call("run", "-j1", "case*/script.py", status=-9)
    assert ran(project) == ["1", "2"]
    assert "worker down" not in project.call("status").stdout, "once may be an accident"
    assert [case["times"] for case in json.loads(project.call("status", "--json").stdout)["downed"]] == [1]
    project.call("run", "--resume", "-j1", status=-9)
    assert ran(project) == ["3", "4", "2"]
    assert "warning: took their worker down: case2/script.py (2 times)\n" in project.call("status").stdout
    [found] = json.loads(project.call("status", "--json").stdout)["downed"]
    assert (found["sequence"], found["times"], found["alone"]) == (2, 2, 2)
    run = project.call("plan", "case*/script.py").stdout.strip()
    assert planned(project.pool / "runs" / run)[-1] == 2
    project.call("join", run, "-j1", status=-9)
    assert ran(project)[3:] == ["2"]
    (project.path / "case2" / "deadly").unlink()
    project.call("run", "--resume", "--run-id", run)
    assert ran(project) == ["2"]
    assert "worker down" not in project.call("status", run).stdout
    run = project.call("plan", "case*/script.py").stdout.strip()
    assert sorted(planned(project.pool / "runs" / run)) == [1, 2, 3, 4]


def test_of_two_at_a_time_it_is_not_known_which_one_it_was(project: Project) -> None:
    project.copies(3, [], BODY)
    for number in (1, 2):
        (project.path / f"case{number}" / "deadly").write_text("2")
    project.call("run", "-j2", "case*/script.py", status=-9)
    assert sorted(ran(project)) == ["1", "2"]
    for number in (1, 2):
        (project.path / f"case{number}" / "deadly").write_text("3")
    project.call("run", "--resume", "-j2", status=-9)
    assert sorted(ran(project)) == ["1", "2", "3"]
    said = "warning: at work beside others when their worker died: case1/script.py (2 times), case2/script.py (2 times)\n"
    assert said in project.call("status").stdout
