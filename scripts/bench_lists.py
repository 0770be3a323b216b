"""Parts of scripts/bench: many workers of one list, on lists of cases of uneven length, on which fixed shares fail.

400 cases with a heavy tail (Pareto 0.8, 0.05 to 8 s, a fixed seed) as drawn, ascending and descending, and 400 of a sweep whose inner loop
has 8 levels, on 4 workers or nodes of 4 slots. Cases sleep, so two busy cores do little harm. What is measured is the time from the first
start to the last end, over what list scheduling takes for the same measured durations in the order in which they were begun; where
durations are known from the run before, over longest-first of the same durations.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import own_python  # noqa: F401 - first: what follows is found by it
from bench_lab import HEAD, Bench, rounds
from bench_report import Row

from tests.claims_lab import ORDERS, list_scheduled, simulate
from tests.slurm import Cluster, running_cluster

WORKERS, SLOTS = 4, 4
SCRIPT = HEAD.format("") + "import time\ntime.sleep({})\n"
LISTS = {f"heavy tail, {order}": ORDERS[order](1) for order in ("drawn", "ascending", "descending")}
LISTS["sweep of 8 levels"] = [0.05, 0.05, 0.05, 0.05, 0.1, 0.2, 0.5, 1.5] * 50
#: a case of a peer: when its Python began and ended goes into a file (named first), in one write
TIMED = ["bash", "-c", 's=$EPOCHREALTIME; "$@"; echo "$s $EPOCHREALTIME" >>"$0"']
HYPERQUEUE = """\
import json, sys
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
with LocalCluster() as cluster:
    for _ in range({workers}):
        cluster.start_worker(WorkerConfig(cores={slots}))
    client, job = cluster.client(), Job(max_fails=None)
    for words in json.load(sys.stdin):
        job.program(words, stdout=None, stderr=None)
    client.wait_for_jobs([client.submit(job)])
"""

Spans = list[tuple[float, float]]  #: start and seconds of each case, in the order begun
Took = tuple[float, float]  #: seconds from the first start to the last end, and what list scheduling takes


def took(spans: Spans, *, longest_first: bool = False) -> Took:
    """How long a list took, and how long it would have taken."""
    lengths = [seconds for _, seconds in spans]
    span = max(start + seconds for start, seconds in spans) - spans[0][0]
    return span, list_scheduled(sorted(lengths, reverse=True) if longest_first else lengths, WORKERS * SLOTS)


def journal(project: Path, run: str, count: int) -> Spans:
    """What the records of a run say, each case of which has to be there."""
    found = []
    for path in (project / ".sharedenv" / "runs" / run).glob("results-*.jsonl"):
        records = map(json.loads, path.read_text().splitlines())
        found += [(record["start"], record["seconds"]) for record in records if "attempt" in record]
    return whole(found, count)


def whole(spans: Spans, count: int) -> Spans:
    """Sorted, and none missing."""
    if len(spans) != count:
        raise RuntimeError(f"{len(spans)} of {count} cases")
    return sorted(spans)


def joined(bench: Bench, project: Path, count: int, order: str) -> Spans:
    """`plan`, and as many `join` at once as there are workers."""
    run = bench.answer([bench.sharedenv, "-q", "plan", "--order", order, "case*/script.py"], project)
    argv = [bench.sharedenv, "-q", "join", run, f"-j{SLOTS}"]
    workers = [subprocess.Popen(argv, cwd=project, env=bench.env) for _ in range(WORKERS)]
    statuses = [worker.wait() for worker in workers]
    if any(statuses):
        raise RuntimeError("a worker failed")
    return journal(project, run, count)


def peers(bench: Bench, project: Path, count: int) -> Iterator[tuple[str, Callable[[], Took]]]:
    """HyperQueue, a server and workers in one process, and disBatch, one context with all slots."""
    times, python = project / "times", bench.python(project)
    cases = [[*TIMED, str(times), python, str(project / f"case{number}" / "script.py")] for number in range(1, count + 1)]

    def timed(argv: Sequence[str], given: str) -> Took:
        times.unlink(missing_ok=True)
        quiet = subprocess.DEVNULL
        subprocess.run(argv, input=given, cwd=project, env=dict(bench.env), text=True, check=True, stdout=quiet, stderr=quiet)
        pairs = [[float(word) for word in line.split()] for line in times.read_text().splitlines()]
        return took(whole([(start, end - start) for start, end in pairs], count))

    if bench.peers:
        code = HYPERQUEUE.format(workers=WORKERS, slots=SLOTS)
        yield "HyperQueue", lambda: timed([str(bench.peers), "-c", code], json.dumps(cases))
        (project / "tasks").write_text("".join(shlex.join(words) + "\n" for words in cases))
        disbatch = [str(Path(bench.peers).parent / "disBatch"), "-s", f"localhost:{WORKERS * SLOTS}", "-p", f"{project}/"]
        yield "disBatch", lambda: timed([*disbatch, str(project / "tasks")], "")


def ours(bench: Bench, project: Path, count: int) -> dict[str, Callable[[], Took]]:
    """`join` without and with knowledge of how long each case takes."""
    return {
        "`join`": lambda: took(joined(bench, project, count, "given")),
        "`join`, durations known": lambda: took(joined(bench, project, count, "longest"), longest_first=True),
    }


def workers(bench: Bench) -> Iterable[Row]:
    """Four workers of four slots, beside list scheduling, HyperQueue and disBatch."""
    for number, (name, lengths) in enumerate(LISTS.items()):
        project = bench.project(f"workers-{number}", [SCRIPT.format(seconds) for seconds in lengths])
        limited = ours(bench, project, len(lengths))
        found = rounds(bench.often(5, 1), {**limited, **dict(peers(bench, project, len(lengths)))}, warm=False)
        for way, each in found.items():
            yield listed(f"{way}: {name}", each, 1.05 if way in limited else None)


def simulated(bench: Bench) -> Iterable[Row]:
    """The real claims on a folder in memory and in made-up time: 16 slots, and 200 workers that come to 20,000 cases in one instant."""
    seeds = bench.often(20, 4)
    ratios = [
        sorted(simulate(seed, lengths(seed), WORKERS * SLOTS // jobs, jobs, arrive=0.05).ratio for seed in range(seeds))
        for lengths in ORDERS.values()
        for jobs in (SLOTS, 1)
    ]
    for which, place, limit in (("the middle", seeds // 2, 1.05), ("the 95th of 100", seeds * 95 // 100 - 1, 1.15)):
        worst = max(found[place] for found in ratios)
        yield Row(f"`join`, {seeds} seeds simulated, the worst list: {which}", [worst], "list scheduling", [1.0], limit, "")
    rush = simulate(1, [0.5] * 20_000, 200, 1, arrive=0.0)
    yield Row("calls of one of 200 workers before its first case, at most", [float(rush.before_first)], limit=60, unit="calls")
    yield Row("the same, of all together", [float(rush.before_firsts)], limit=12_000, unit="calls")


def listed(what: str, each: Sequence[Took], limit: float | None) -> Row:
    """A row beside list scheduling."""
    return Row(what, [span for span, _ in each], "list scheduling", [ideal for _, ideal in each], limit)


def slurm(bench: Bench) -> Iterable[Row]:
    """`submit --wait` on a Slurm of 4 nodes with 4 slots each: many short cases beside xargs in the same slots, and uneven ones.

    The nodes share this host's CPUs, and its scheduler deals them out by session: figures compare only among jobs of Slurm, hence xargs
    in jobs, too.
    """
    with running_cluster(WORKERS, SLOTS, max_array_size=10001) as cluster:
        count = bench.often(5000, 500)
        project = bench.project("slurm", SCRIPT.format(0.02), count)
        python, submit = bench.python(project), [bench.sharedenv, "-q", "submit", "--wait"]
        every = [*submit, "case*/script.py"]
        found = rounds(
            bench.often(3, 1),
            {
                "submit": lambda: bench.seconds(every, project, **cluster.env),
                "xargs": lambda: xargs(bench, cluster, project, python, count),
            },
            warm=False,
        )
        yield Row(f"`submit --wait`, {count:,} cases of 20 ms", found["submit"], "xargs in the same 16 slots", found["xargs"])
        for name in ("heavy tail, drawn", "sweep of 8 levels"):
            lengths = LISTS[name]
            project = bench.project(f"slurm-{name.split()[0]}", [SCRIPT.format(seconds) for seconds in lengths])
            bench.python(project)
            each = []
            for _ in range(bench.often(3, 1)):
                bench.seconds([*submit, "--order", "given", "--tasks", str(WORKERS * SLOTS), "case*/script.py"], project, **cluster.env)
                each.append(took(journal(project, max(path.name for path in (project / ".sharedenv" / "runs").glob("2*")), len(lengths))))
            yield listed(f"`submit`: {name}", each, 1.05)


def xargs(bench: Bench, cluster: Cluster, project: Path, python: str, count: int) -> float:
    """Seconds of the same cases in a hand-made array: one `xargs python` in each of the slots."""
    slots = WORKERS * SLOTS
    for slot in range(slots):
        (project / f"list{slot}").write_text("".join(f"case{number}/script.py\n" for number in range(slot + 1, count + 1, slots)))
    words = ["--wait", f"--array=0-{slots - 1}", "--output=/dev/null", "--wrap", f"xargs -n1 {python} <list$SLURM_ARRAY_TASK_ID"]
    return bench.seconds(["sbatch", *words], project, **cluster.env)
