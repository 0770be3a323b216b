"""A real, throw-away Grid Engine: a master and nodes, each with a host name and a network of its own on this machine, as root.

Grid Engine tells nodes apart by host names, and asks for the name of each address that it hears from. So the master and every node
get namespaces of their own for host names, for mounts (an /etc/hosts of the cluster) and for the network: a loopback each, and a
cable (veth) from each node to the master that nobody else is on. All of it goes with the processes.

Debian: apt-get install -y --no-install-recommends gridengine-master gridengine-exec gridengine-client iproute2
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.slurm import wait_until

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_COMMANDS = ("qsub", "qstat", "qdel", "qconf", "qacct", "qmod")
_PROGRAMS = ("sge_qmaster", "sge_execd", *_COMMANDS, "unshare", "nsenter", "ip")
_DEBIAN = Path("/usr/share/gridengine")
_LIBRARY = "/usr/lib/gridengine"

_BOOTSTRAP = """\
admin_user none
default_domain none
ignore_fqdn false
spooling_method berkeleydb
spooling_lib libspoolb
spooling_params {folder}/spool/db
binary_path /usr/sbin
qmaster_spool_dir {folder}/spool/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""
#: what differs from Debian's own configuration; times in h:m:s
_CONFIGURATION = {
    "execd_spool_dir": "{folder}/spool/execd",
    "mailer": "/bin/true",
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:01",
    "max_unheard": "00:00:05",
    "login_shells": "sh",  # bash as none: what is in root's profile may take a minute (pyenv waits so long for a lock)
}
_SCHEDULER = {
    "schedule_interval": "0:0:1",
    "flush_submit_sec": "1",
    "flush_finish_sec": "1",
    "job_load_adjustments": "NONE",
    "load_adjustment_decay_time": "0:0:0",
}
_QUEUE = {
    "qname": "all.q",
    "hostlist": "{nodes}",
    "slots": "{slots}",
    "pe_list": "smp",
    "shell": "/bin/bash",
    "load_thresholds": "NONE",
    "notify": "00:00:10",
}
_ENVIRONMENT = """\
pe_name smp
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""


def require_grid_engine() -> None:
    """Skips the test where there is no Grid Engine, or no right to give it hosts."""
    missing = [program for program in _PROGRAMS if shutil.which(program, path=_PATH) is None]
    if missing:
        why = f"Grid Engine is not installed here: no {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    if os.geteuid() != 0:
        pytest.skip("only root can give hosts names and networks of their own")
    if subprocess.run(["unshare", "--net", "--uts", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this container lets nobody make namespaces")


class GridEngine:
    """A running cluster. ``env`` is what a user's shell needs to reach it; ``bin`` a folder for PATH, with its commands for users."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.env = {"SGE_ROOT": str(folder), "SGE_CELL": "default", "SGE_QMASTER_PORT": "6444", "SGE_EXECD_PORT": "6445"}
        self.bin = folder / "commands"
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def _enter(self, host: str) -> str:
        """A line of sh that enters a host with the words it is given; the current folder stays."""
        return f"exec nsenter -t {self._hosts[host].pid} -n -u -m sh -c 'cd \"$0\" && exec \"$@\"' \"$PWD\" \"$@\""

    def call(self, *argv: str, host: str = "master", check: bool = True) -> str:
        """Output of a command on a host. Raises AssertionError when it fails."""
        done = subprocess.run(
            ["sh", "-c", self._enter(host), "sh", *argv],
            env={**os.environ, "PATH": _PATH, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def states(self) -> list[str]:
        """The state of each job in the queue, letters of qstat."""
        return [line.split()[4] for line in self.call("qstat", "-u", "*").splitlines()[2:]]

    def kill_node(self, node: str) -> None:
        """What a power cut does: the node's daemon and all that runs there are gone, and nobody is told."""
        for pid in _processes_in(self._hosts[node].pid):
            os.kill(pid, signal.SIGKILL)
        self._daemons.pop(node).wait(20)

    def kill_daemon(self, node: str) -> None:
        """The daemon of a node alone: what it has started runs on."""
        for pid in _processes_in(self._hosts[node].pid):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "sge_execd":
                os.kill(pid, signal.SIGKILL)
        self._daemons.pop(node).wait(20)

    def start_node(self, node: str) -> None:
        """Starts a node's daemon, and waits until the master knows of it."""
        self._start(node, node, "sge_execd")
        wait_until(lambda: self._is_ready(node), f"{node} is ready; see {self.folder}/*.log")

    def start(self, slots: int) -> None:
        """Makes the hosts, starts the daemons, each a child of this process, and waits until all nodes are ready."""
        self._make_host("master", ["ip link set lo up", "ip addr add 10.9.0.1/32 dev lo"])
        for number, node in enumerate(self.nodes, 1):
            self._make_host(node, ["ip link set lo up"])
            self._connect(number, node)
        self._make_spool()
        self._start("master", "qmaster", "sge_qmaster")
        wait_until(lambda: self.call("qconf", "-sss", check=False) == "master", f"the master answers; see {self.folder}/*.log")
        self._configure(slots)
        for name in _COMMANDS:
            (self.bin / name).write_text(f'#!/bin/sh\nset -- /usr/bin/{name} "$@"\n{self._enter("master")}\n')
            (self.bin / name).chmod(0o755)
        for node in self.nodes:
            self._start(node, node, "sge_execd")
        for node in self.nodes:
            wait_until(lambda node=node: self._is_ready(node), f"{node} is ready; see {self.folder}/*.log")  # type: ignore[misc]  # mypy infers no lambda with a default

    def stop(self) -> None:
        """Ends all processes of all hosts: these have begun here, or were begun by those."""
        for host in self._hosts.values():
            for _ in range(3):  # one that is being started shows up late
                for pid in _processes_in(host.pid):
                    if pid != host.pid:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
        for process in [*self._daemons.values(), *self._hosts.values()]:
            process.kill()
            process.wait()

    def _make_host(self, name: str, commands: Sequence[str]) -> None:
        held = ["unshare", "--net", "--uts", "--mount", "--propagation", "private", "sleep", "infinity"]
        host = subprocess.Popen(held, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._hosts[name] = host
        own = os.readlink("/proc/self/ns/uts")
        wait_until(lambda: os.readlink(f"/proc/{host.pid}/ns/uts") != own and _name(host.pid) == "sleep", f"host {name} is there")
        for command in [f"hostname {name}", f"mount --bind {self.folder}/hosts /etc/hosts", *commands]:
            self.call("sh", "-ec", command, host=name)

    def _connect(self, number: int, node: str) -> None:
        self.call("sh", "-ec", f"ip link add name port{number} type veth peer name cable netns {self._hosts[node].pid}")
        self.call("sh", "-ec", f"ip addr add 10.9.{number}.1/24 dev port{number}; ip link set port{number} up")
        there = f"ip addr add 10.9.{number}.2/24 dev cable; ip link set cable up; ip route add default via 10.9.{number}.1"
        self.call("sh", "-ec", there, host=node)

    def _make_spool(self) -> None:
        text = _changed((_DEBIAN / "default-configuration").read_text(), self._filled(_CONFIGURATION))
        (self.folder / "configuration").write_text(text + "\n")
        self.call(f"{_LIBRARY}/spoolinit", "berkeleydb", "libspoolb", str(self.folder / "spool/db"), "init")
        for what, value in (
            ("configuration", str(self.folder / "configuration")),
            ("complexes", str(_DEBIAN / "util/resources/centry")),
            ("usersets", str(_DEBIAN / "util/resources/usersets")),
            ("managers", "root"),
        ):
            self.call(f"{_LIBRARY}/spooldefaults", what, value)

    def _configure(self, slots: int) -> None:
        self.call("qconf", "-ah", ",".join(self.nodes))
        self.call("qconf", "-as", ",".join(["master", *self.nodes]))
        self.add("-Ap", _ENVIRONMENT)
        self.add("-Aq", _changed(self.call("qconf", "-sq"), self._filled(_QUEUE, slots)))
        self.add("-Msconf", _changed(self.call("qconf", "-ssconf"), _SCHEDULER))

    def add(self, option: str, text: str) -> None:
        """Tells qconf the ``text`` of a file."""
        path = self.folder / "asked"
        path.write_text(text + "\n")
        self.call("qconf", option, str(path))

    def add_environment(self) -> None:
        """The parallel environment `smp` again, for the queue."""
        self.add("-Ap", _ENVIRONMENT)
        self.call("qconf", "-aattr", "queue", "pe_list", "smp", "all.q")

    def _filled(self, values: Mapping[str, str], slots: int = 0) -> dict[str, str]:
        return {name: value.format(folder=self.folder, nodes=" ".join(self.nodes), slots=slots) for name, value in values.items()}

    def _start(self, host: str, name: str, program: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            self._daemons[name] = subprocess.Popen(
                ["sh", "-c", self._enter(host), "sh", program],
                env={**os.environ, "PATH": _PATH, **self.env, "SGE_ND": "1"},  # not into the background
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _is_ready(self, node: str) -> bool:
        lines = [line.split() for line in self.call("qstat", "-f", "-q", f"all.q@{node}", check=False).splitlines() if "@" in line]
        return bool(lines) and len(lines[0]) == 5  # the sixth word is what is wrong with it


@contextlib.contextmanager
def running_grid_engine(nodes: int = 2, slots: int = 4) -> Iterator[GridEngine]:
    """A cluster of ``nodes`` nodes with ``slots`` slots each; stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sge-", dir="/tmp"))
    folder.chmod(0o755)
    cluster = GridEngine(folder, nodes)
    for part in ("default/common", "spool/qmaster/job_scripts", "spool/db", "spool/execd", "commands"):
        (folder / part).mkdir(parents=True)
    for name in ("bin", "lib", "util", "utilbin"):
        (folder / name).symlink_to(f"/var/lib/gridengine/{name}")
    hosts = ["127.0.0.1 localhost", "10.9.0.1 master", *(f"10.9.{number}.2 {node}" for number, node in enumerate(cluster.nodes, 1))]
    (folder / "hosts").write_text("\n".join([*hosts, ""]))
    (folder / "default/common/bootstrap").write_text(_BOOTSTRAP.format(folder=folder))
    (folder / "default/common/act_qmaster").write_text("master\n")
    try:
        cluster.start(slots)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _changed(text: str, values: Mapping[str, str]) -> str:
    """Lines of `name value` with other values."""
    names = [line.partition(" ")[0] for line in text.splitlines()]
    assert set(values) <= set(names), set(values) - set(names)
    return "\n".join(
        f"{name} {values[name]}" if name in values else line for name, line in zip(names, text.splitlines(), strict=True)
    )


def _processes_in(host: int) -> list[int]:
    """Processes in the network of a host but the one that holds it, children before what started them."""
    network = os.readlink(f"/proc/{host}/ns/net")
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{name}/ns/net") == network and int(name) != host:
                found.append(int(name))
    return sorted(found, reverse=True)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""

