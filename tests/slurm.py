"""A real, throw-away Slurm cluster on loopback: several nodes on this host, no systemd, as root or as a plain user.

Debian: apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

_PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "munged")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

_CONFIGURATION = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=20
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge={min_job_age}
MaxArraySize={max_array_size}
SelectType=select/cons_tres
SelectTypeParameters={select}
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1,bf_continue,default_queue_depth=10000,partition_job_depth=0
SlurmdParameters=config_overrides
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def require_slurm() -> None:
    """Skips the test on a machine without Slurm and munge; where CI is set, fails it."""
    missing = [program for program in _PROGRAMS if shutil.which(program, path=_PATH) is None]
    if missing:
        why = f"Slurm is not installed here: no {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Polls until ``condition()`` is true. Raises AssertionError that says what never happened."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never within {seconds} s: {what}"
        time.sleep(0.1)


class Cluster:
    """A running cluster. ``env`` is what a user's shell needs to reach it (SLURM_CONF)."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.env = {"SLURM_CONF": str(folder / "slurm.conf"), "MUNGE_SOCKET": str(folder / "munge.sock")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def call(self, *argv: str, env: Mapping[str, str] | None = None, cwd: str | Path | None = None) -> str:
        """Output of one of Slurm's commands. Raises AssertionError when it fails."""
        done = subprocess.run(
            argv,
            env={**(env or os.environ), "PATH": f"{(env or {}).get('PATH', '')}:{_PATH}", **self.env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{argv} ended with {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    @property
    def answers(self) -> bool:
        """Whether its controller does: on a busy machine it may refuse for a second."""
        with contextlib.suppress(AssertionError):
            self.call("squeue", "-h")
            return True
        return False

    def await_controller(self) -> None:
        """Waits until its controller answers; daemons that have died are started anew. Raises AssertionError with its last words."""
        dead = [name for name, process in self._processes.items() if process.poll() is not None]
        for name in dead:
            self._start(name, *cast("tuple[str, ...]", self._processes[name].args))
        try:
            wait_until(lambda: self.answers, "the controller answers")
            wait_until(lambda: not dead or self._idle_nodes() == len(self.nodes), "its nodes are idle")
        except AssertionError as error:
            words = (self.folder / "slurmctld.log").read_text(errors="replace")[-2000:]
            ended = {name: process.poll() for name, process in self._processes.items()}
            raise AssertionError(f"{error}; ended before: {dead}, now: {ended}\n{words}") from None

    def states(self, job: str) -> dict[str, str]:
        """Each task of a job, `<array>_<index>` or `<job>`, with its state, ended ones included."""
        lines = self.call("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_for_end(self, job: str, seconds: float = 120) -> dict[str, str]:
        """Waits until no task of the job is waiting or running; the states they ended in."""
        live = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED")
        wait_until(lambda: not set(self.states(job).values()) & set(live), f"end of job {job}", seconds)
        return self.states(job)

    def kill_node(self, node: str) -> None:
        """What a power cut does: the node's daemon and all that runs there are gone, and Slurm is told so."""
        self._end(node, subprocess.Popen.kill)
        jobs = list(_processes_on(node, self.folder))
        # the steps' keepers first: they would tell Slurm how their job ended
        for pid in [*(parent for parent in map(_parent, jobs) if _name(parent) == "slurmstepd"), *jobs]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.call("scontrol", "update", f"nodename={node}", "state=down", "reason=power cut")

    def revive_node(self, node: str) -> None:
        """Starts the node's daemon again."""
        self._start(node, "slurmd", "-D", "-N", node)
        with contextlib.suppress(AssertionError):  # it may be back by itself (ReturnToService), and can't be resumed then
            self.call("scontrol", "update", f"nodename={node}", "state=resume")
        wait_until(lambda: self._idle_nodes() == len(self.nodes), f"{node} comes back")

    @contextlib.contextmanager
    def silent_node(self, node: str) -> Iterator[None]:
        """A node that doesn't answer, whose processes run on, and that Slurm is told of as it finds out itself after SlurmdTimeout."""
        self._processes[node].send_signal(signal.SIGSTOP)
        try:
            self.call("scontrol", "update", f"nodename={node}", "state=down", "reason=not responding")
            yield
        finally:
            self._processes[node].send_signal(signal.SIGCONT)
            self._end(node, subprocess.Popen.kill)
            self.revive_node(node)

    def start(self) -> None:
        """Starts the daemons, each a child of this process, and waits until all nodes are idle."""
        # --force: munged refuses a socket below a folder that others can't search, such as mkdtemp's
        munge = [f"--{name}={self.folder}/{value}" for name, value in _MUNGE_FILES.items()]
        self._start("munged", "munged", "--foreground", "--force", "--num-threads=2", *munge)
        wait_until((self.folder / "munge.sock").exists, "munged listens")
        self._start("slurmctld", "slurmctld", "-D")
        for node in self.nodes:
            self._start(node, "slurmd", "-D", "-N", node)
        wait_until(lambda: self._idle_nodes() == len(self.nodes), f"all nodes idle; see {self.folder}/*.log")

    def stop(self) -> None:
        """Cancels what runs, then ends exactly the daemons that were started."""
        with contextlib.suppress(subprocess.SubprocessError, AssertionError):
            self.call("scancel", f"--user={getpass.getuser()}")
            wait_until(lambda: not self.call("squeue", "-h", "-t", "R,CG,S"), "no job runs", 20)
        for name in [*self.nodes, "slurmctld", "munged"]:
            self._end(name, subprocess.Popen.terminate)

    def _start(self, name: str, *argv: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                argv,
                env={**os.environ, "PATH": _PATH, **self.env},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _end(self, name: str, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        how(process)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _idle_nodes(self) -> int:
        with contextlib.suppress(AssertionError):
            return len(self.call("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split())
        return 0


_MUNGE_FILES = {
    "socket": "munge.sock",
    "key-file": "munge.key",
    "pid-file": "munged.pid",
    "log-file": "munge.log",
    "seed-file": "munge.seed",
}


@contextlib.contextmanager
def running_cluster(
    nodes: int = 2, cpus: int = 4, *, max_array_size: int = 1001, min_job_age: int = 3600, threads: int = 1, extra: str = "",
    name: str = "local", cgroups: str = "",
) -> Iterator[Cluster]:
    """A cluster of ``nodes`` nodes that each claim ``cpus`` CPUs, whatever the machine has; stopped at the end.

    min_job_age  seconds that Slurm remembers a job that has ended
    threads      of a core; with more than one a task gets whole cores (CR_Core), as clusters with hyper-threads are set up
    extra        more lines for slurm.conf
    name         its ClusterName
    cgroups      text of cgroup.conf: tasks are held to their memory
    """
    # unix sockets live below: their paths are short (108 bytes), so pytest's own folders are no place for them
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    cluster = Cluster(folder, nodes)
    for part in ("state", *(f"spool/{node}" for node in cluster.nodes)):
        (folder / part).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    ports = _free_ports(nodes + 1)
    host = socket.gethostname().partition(".")[0]
    text = _CONFIGURATION.format(
        name=name,
        host=host,
        port=ports[0],
        user=getpass.getuser(),
        folder=folder,
        max_array_size=max_array_size,
        min_job_age=min_job_age,
        select="CR_CPU" if threads == 1 else "CR_Core",
    )
    cores = f"CPUs={cpus} Sockets=1 CoresPerSocket={cpus // threads} ThreadsPerCore={threads}"
    for node, port in zip(cluster.nodes, ports[1:], strict=True):
        text += f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {cores} RealMemory=100000\n"
    if cgroups:
        for plugin, ours in (("TaskPlugin=task/none", "TaskPlugin=task/cgroup"), ("=CR_CPU\n", "=CR_CPU_Memory\n")):
            text = text.replace(plugin, ours)
        (folder / "cgroup.conf").write_text(cgroups)
    (folder / "slurm.conf").write_text(text + extra)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


_CGROUPS = """\
CgroupPlugin=cgroup/{version}
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedSwapSpace=0
"""


def cgroups_for_memory() -> str:
    """A cgroup.conf by which Slurm holds tasks to their memory here; "" on a machine that lets nobody make cgroups (no root, a container)."""
    parent = Path("/sys/fs/cgroup/memory")  # version 1; version 2 wants systemd, or a slice of its own
    trial = parent / f"sharedenv-trial-{os.getpid()}"
    try:
        trial.mkdir()
        limited = (trial / "memory.limit_in_bytes").exists()
        trial.rmdir()
    except OSError:
        return ""
    return _CGROUPS.format(version="v1") if limited else ""


def _remove_cgroups(cluster: Cluster) -> None:
    """Slurm leaves a folder of each node behind in every hierarchy."""
    for node in cluster.nodes:
        for parent in Path("/sys/fs/cgroup").glob(f"*/slurm_{node}"):
            for folder, _, _ in os.walk(parent, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _processes_on(node: str, folder: Path) -> Iterator[int]:
    """Processes of jobs on one node of the cluster in ``folder``."""
    marks = {b"SLURMD_NODENAME=" + node.encode(), b"SLURM_CONF=" + bytes(folder / "slurm.conf")}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if marks <= set(Path("/proc", name, "environ").read_bytes().split(b"\0")):
                yield int(name)


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
