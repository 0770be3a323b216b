"""What is asked of a scheduler (`Scheduler`), of each that there is: real Slurm, real Grid Engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from sharedenv.cluster.grid_engine import GRID_ENGINE
from sharedenv.cluster.qsub import job_name
from sharedenv.cluster.sbatch import Job, SbatchOptions
from sharedenv.cluster.scheduler import SLURM, Scheduler
from sharedenv.errors import SharedenvError
from tests.grid_engine import require_grid_engine, running_grid_engine
from tests.slurm import require_slurm, running_cluster, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.xdist_group("schedulers"), pytest.mark.timeout(300)]


@contextmanager
def slurm() -> Iterator[Mapping[str, str]]:
    require_slurm()
    with running_cluster(nodes=1, cpus=2, max_array_size=101) as cluster:
        yield {**os.environ, **cluster.env}


@contextmanager
def grid_engine() -> Iterator[Mapping[str, str]]:
    require_grid_engine()
    with running_grid_engine(nodes=1, slots=2) as engine:
        yield {**os.environ, **engine.env, "PATH": f"{engine.bin}:{os.environ['PATH']}"}


@pytest.fixture(scope="module", params=[(SLURM, slurm, 100), (GRID_ENGINE, grid_engine, 75_000)], ids=["Slurm", "Grid Engine"])
def there(request: pytest.FixtureRequest) -> Iterator[tuple[Scheduler, Mapping[str, str], int]]:
    """A scheduler, the environment that reaches it, and its largest array."""
    scheduler, running, largest = request.param
    with running() as environ:
        yield scheduler, environ, largest


def written(scheduler: Scheduler, folder: Path, command: str, tasks: int = 3, **options: str) -> tuple[str, Job]:
    """Path of a job script, and the job, whose tasks each run a line of sh."""
    path = folder / "runs" / "20261130-120000" / "jobs" / "1"
    path.mkdir(parents=True)
    job = Job(job_name(f"{path}/job.sh"), str(path), str(folder), ("sh", "-c", command), SbatchOptions(**options), tasks)  # type: ignore[arg-type]  # of many types by name
    (path / "job.sh").write_text(scheduler.script_text(job))
    return f"{path}/job.sh", job


def test_an_array_from_its_submission_to_its_end(there: tuple[Scheduler, Mapping[str, str], int], tmp_path: Path) -> None:
    scheduler, environ, _ = there
    hold = tmp_path / "hold"
    hold.touch()
    script, job = written(scheduler, tmp_path, f"echo said; while test -e {hold}; do sleep 0.1; done")
    identity = scheduler.submit(script, scheduler.arguments(job), environ, str(tmp_path))
    assert scheduler.find(script, environ) == identity
    assert scheduler.find(script.replace("/1/", "/2/"), environ) is None

    def tasks() -> list[tuple[int | None, bool, bool]]:
        return sorted((task.index, task.running, task.waiting) for task in scheduler.tasks({identity: script}, environ) if task.live)

    wait_until(lambda: tasks() == [(1, True, False), (2, True, False), (3, False, True)], "two tasks run on two CPUs, and one waits")
    assert all(task.node and not task.stuck for task in scheduler.tasks({identity: script}, environ) if task.running)
    assert not list(scheduler.tasks({identity: script.replace("20261130", "20261129")}, environ)), "another's job of this number"
    hold.unlink()
    wait_until(lambda: not tasks(), "all have ended")
    pattern = Path(scheduler.log_path(job, identity))
    assert [path.read_text() for path in pattern.parent.glob(pattern.name)] == ["said\n"] * 3


def test_a_task_is_told_its_number(there: tuple[Scheduler, Mapping[str, str], int], tmp_path: Path) -> None:
    scheduler, environ, _ = there
    script, job = written(scheduler, tmp_path, f"env -0 > {tmp_path}/task-$$", tasks=2)
    scheduler.submit(script, scheduler.arguments(job), environ, str(tmp_path))
    wait_until(lambda: len(found := list(tmp_path.glob("task-*"))) == 2 and all(path.stat().st_size for path in found), "both have run")
    told = [dict(line.partition("=")[::2] for line in path.read_text().split("\0")) for path in tmp_path.glob("task-*")]
    assert sorted(scheduler.task_number(each) or 0 for each in told) == [1, 2]
    assert [scheduler.restarts(each) for each in told] == [0, 0]
    assert scheduler.task_number({}) is None


def test_what_is_cancelled_is_gone_and_twice_is_no_error(there: tuple[Scheduler, Mapping[str, str], int], tmp_path: Path) -> None:
    scheduler, environ, _ = there
    script, job = written(scheduler, tmp_path, "sleep 100")
    identity = scheduler.submit(script, scheduler.arguments(job), environ, str(tmp_path))
    scheduler.cancel([identity], environ)
    wait_until(lambda: not any(task.live for task in scheduler.tasks({identity: script}, environ)), "it is gone")
    scheduler.cancel([identity], environ)


def test_what_the_cluster_is(there: tuple[Scheduler, Mapping[str, str], int]) -> None:
    scheduler, environ, largest = there
    assert scheduler.largest_array(environ) == largest
    assert scheduler.count_cpus(None, environ) == 2
    assert scheduler.count_cpus("nowhere", environ) is None
    assert scheduler.name(environ)


def test_one_that_is_not_there_says_so(there: tuple[Scheduler, Mapping[str, str], int], tmp_path: Path) -> None:
    scheduler, environ, _ = there
    script, job = written(scheduler, tmp_path, "true")
    for ask in (
        lambda environ: scheduler.submit(script, scheduler.arguments(job), environ, str(tmp_path)),
        lambda environ: scheduler.tasks({"1": script}, environ),
        lambda environ: scheduler.cancel(["1"], environ),
    ):
        with pytest.raises(SharedenvError, match="is not to be found here"):
            ask({**environ, "PATH": str(tmp_path)})
    assert scheduler.name({**environ, "PATH": str(tmp_path)}) == ""
    assert not scheduler.accounts(["1"], {**environ, "PATH": str(tmp_path)})
