#!/usr/bin/env python3
"""The pool on real network file systems, two nodes each, with figures. Takes some ten minutes; needs root.

usage: scripts/soak_network.py [gluster|nfs|all]

gluster  GlusterFS: one brick, two FUSE clients on loopback, each in name spaces of its own
nfs      NFS 4.2: nfs-ganesha, and the kernel's client in two user-mode-linux kernels, whose disk is this machine's (hostfs)

All of it is in a network of its own, which goes when this ends. From Debian:
apt-get install glusterfs-server glusterfs-client nfs-ganesha nfs-ganesha-vfs nfs-common user-mode-linux kmod iproute2
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from own_python import ROOT  # first: what follows is found by it

from tests.wheels import make_wheel

NEEDED = {
    "gluster": ("glusterfsd", "glusterfs", "unshare"),
    "nfs": ("ganesha.nfsd", "linux.uml", "mount.nfs", "modprobe", "ip"),
}
BRICK = """\
volume posix
  type storage/posix
  option directory {folder}/brick
  option gfid2path on
end-volume
volume locks
  type features/locks
  subvolumes posix
end-volume
volume threads
  type performance/io-threads
  subvolumes locks
end-volume
volume server
  type protocol/server
  option transport-type tcp
  option transport.socket.bind-address 127.0.0.1
  option transport.socket.listen-port 24917
  option auth.addr.threads.allow 127.0.0.1
  subvolumes threads
end-volume
"""
CLIENT = """\
volume remote
  type protocol/client
  option transport-type tcp
  option remote-host 127.0.0.1
  option remote-port 24917
  option remote-subvolume threads
end-volume
volume behind
  type performance/write-behind
  subvolumes remote
end-volume
"""
GANESHA = """\
NFS_CORE_PARAM {{ Protocols = 4; Bind_addr = 10.9.0.1; Enable_NLM = false; Enable_RQUOTA = false; mount_path_pseudo = true; }}
NFSv4 {{ Graceless = true; Lease_Lifetime = 10; Grace_Period = 5; RecoveryBackend = fs; RecoveryRoot = {folder}/recovery; }}
EXPORT {{ Export_Id = 1; Path = {folder}/brick; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
  FSAL {{ Name = VFS; }} }}
"""
#: init of a node: mounts, then starts each command whose name comes over the console
INIT = """\
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /dev/shm
hostname node$node
ip link set lo up; ip addr add 10.9.0.$((10 + node))/24 dev vec0; ip link set vec0 up
modprobe -d {folder}/modules nfsv4
mount -t nfs -o vers=4.2,sec=sys,addr=10.9.0.1,clientaddr=10.9.0.$((10 + node)) 10.9.0.1:/export {folder}/mnt && echo mounted
while read -r job && [ "$job" != end ]; do bash "$job/command" & done
sync; echo o >/proc/sysrq-trigger; sleep 10
"""


@dataclass(frozen=True)
class Job:
    """A command on a node; its folder gets `out`, `pid` and, when it has ended, `status`."""

    folder: Path

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return (self.folder / "status").exists()

    def wait(self, seconds: float = 400) -> tuple[int, str]:
        """Its exit status and what it said."""
        end = time.monotonic() + seconds
        while not self.ended:
            if time.monotonic() > end:
                return -1, f"no end after {seconds:.0f} s\n{self.said}"
            time.sleep(0.05)
        return int((self.folder / "status").read_text()), self.said

    @property
    def said(self) -> str:
        """What it has said so far."""
        return (self.folder / "out").read_text() if (self.folder / "out").exists() else ""


@dataclass
class Lab:
    """Two nodes that see one folder, ``mnt`` by its path on each.

    ``begin`` has the command of a job (its folder) started on a node, ``end`` has all that it started killed.
    """

    name: str
    folder: Path
    begin: Callable[[int, Path], None]
    end: Callable[[int, Path], None]
    jobs: int = 0

    @property
    def project(self) -> Path:
        """As the nodes see it; this machine sees what is behind it in `brick`."""
        return self.folder / "mnt/project"

    def script(self, name: str, body: str, dependency: str = "alpha") -> None:
        """Writes a script, from the first node."""
        block = f'# /// script\n# requires-python = ">=3.8"\n# dependencies = ["{dependency}"]\n# ///\n'
        source = self.folder / "text"
        source.write_text(block + body)
        path = self.project / name
        assert self.shell(0, f"mkdir -p {shlex.quote(str(path.parent))} && cp {source} {shlex.quote(str(path))}").wait()[0] == 0

    def shell(self, node: int, command: str) -> Job:
        """Starts a command of bash on a node, in a session of its own."""
        self.jobs += 1
        job = self.folder / "jobs" / str(self.jobs)
        job.mkdir(parents=True)
        environ = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(Path(sys.base_prefix, "bin")), "/usr/bin", "/bin"]),
            "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "TMPDIR": str(job),
            "UV_CACHE_DIR": str(self.cache(node)), "UV_OFFLINE": "1", "UV_FIND_LINKS": str(self.folder / "wheels"),
            "UV_PYTHON_DOWNLOADS": "never",
        }  # fmt: skip
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environ.items())
        inner = f"echo $$ >{job}/pid; cd {self.project} || exit 99\n{command}"
        (job / "command").write_text(
            f"env -i {variables} setsid -w bash -c {shlex.quote(inner)} </dev/null >{job}/out 2>&1\n"
            f"echo $? >{job}/.status; mv {job}/.status {job}/status\n"
        )
        self.begin(node, job)
        return Job(job)

    def cache(self, node: int) -> Path:
        """uv's cache: on the pool's own file system where it can link, else a node's own."""
        return self.folder / "mnt/cache" if self.name == "gluster" else self.folder / f"cache{node}"

    def sharedenv(self, node: int, *words: str) -> Job:
        """Starts sharedenv on a node."""
        return self.shell(node, shlex.join([sys.executable, "-m", "sharedenv", *words]))

    @property
    def environments(self) -> int:
        """How many there are, by what lies behind the nodes' file system."""
        return len(list((self.folder / "brick/project/.sharedenv/envs").glob("*-*")))


@contextlib.contextmanager
def gluster(folder: Path) -> Iterator[Lab]:
    """GlusterFS with two clients, each mounted on mnt in its own name spaces."""
    (folder / "brick.vol").write_text(BRICK.format(folder=folder))
    (folder / "client.vol").write_text(CLIENT)
    running: dict[Path, subprocess.Popen[bytes]] = {}
    servers = [subprocess.Popen(["glusterfsd", "-N", "-f", folder / "brick.vol", "-l", folder / "brick.log"])]
    time.sleep(1)
    for node in (0, 1):
        (folder / f"client{node}").mkdir()
        argv: list[str | Path] = ["glusterfs", "-N", "-f", folder / "client.vol", "-l", folder / f"{node}.log", folder / f"client{node}"]
        servers.append(subprocess.Popen(argv))
    while any(not os.path.ismount(folder / f"client{node}") for node in (0, 1)):
        time.sleep(0.1)

    def begin(node: int, job: Path) -> None:
        inside = f"mount --bind {folder}/client{node} {folder}/mnt && hostname node{node} && exec bash {job}/command"
        argv = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside]
        running[job] = subprocess.Popen(argv)

    def end(_: int, job: Path) -> None:
        running[job].kill()  # and with it the first process of its name space, and all in it
        running[job].wait()

    try:
        yield Lab("gluster", folder, begin, end)
    finally:
        for node in (0, 1):
            subprocess.run(["umount", "-l", folder / f"client{node}"], check=False)
        for server in servers:
            server.terminate()
            server.wait()


@contextlib.contextmanager
def nfs(folder: Path) -> Iterator[Lab]:
    """nfs-ganesha, and two kernels that mount it."""
    (folder / "ganesha.conf").write_text(GANESHA.format(folder=folder))
    (folder / "init").write_text(INIT.format(folder=folder))
    (folder / "init").chmod(0o755)
    (folder / "modules/lib").mkdir(parents=True)
    (folder / "recovery").mkdir()
    os.symlink("/usr/lib/uml/modules", folder / "modules/lib/modules")
    for words in ("link add br0 type bridge", "addr add 10.9.0.1/24 dev br0", "link set br0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    files = ("-f", folder / "ganesha.conf", "-L", folder / "ganesha.log", "-p", folder / "ganesha.pid")
    argv: list[str | Path] = ["ganesha.nfsd", "-F", *files]
    server = subprocess.Popen(argv)
    time.sleep(4)
    nodes, logs = [], []
    for node in (0, 1):
        for words in (f"tuntap add dev t{node} mode tap", f"link set t{node} master br0", f"link set t{node} up"):
            subprocess.run(["ip", *words.split()], check=True)
        logs.append(folder / f"node{node}.log")
        with logs[-1].open("wb") as log:
            nodes.append(subprocess.Popen(
                ["linux.uml", "mem=1G", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={folder}/init",
                 f"node={node + 1}",
                 f"vec0:transport=tap,ifname=t{node}", "con=null", "con0=fd:0,fd:1", f"uml_dir={folder}", f"umid=node{node}", "quiet"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True))  # fmt: skip
    deadline = time.monotonic() + 60
    while not all(b"mounted" in log.read_bytes() for log in logs):
        assert time.monotonic() < deadline, "".join(log.read_text(errors="replace") for log in logs)
        time.sleep(0.2)

    def begin(node: int, job: Path) -> None:
        stdin = nodes[node].stdin
        assert stdin is not None
        stdin.write(f"{job}\n".encode())
        stdin.flush()

    def end(node: int, job: Path) -> None:
        (job / "kill").mkdir()
        (job / "kill/command").write_text(f"pkill -KILL -s $(cat {job}/pid); touch {job}/kill/status\n")
        begin(node, job / "kill")
        while not (job / "kill/status").exists():
            time.sleep(0.05)

    try:
        yield Lab("nfs", folder, begin, end)
    finally:
        for process in nodes:
            os.killpg(process.pid, 9)
            process.wait()
        server.kill()
        server.wait()


def cold(lab: Lab) -> dict[str, object]:
    """16 cold starts of one script, 8 on each node."""
    lab.script("cold.py", "import alpha; print('ran')\n", "alpha>=0.1")
    before = lab.environments
    told = [job.wait() for job in [lab.sharedenv(number % 2, "exec", "cold.py") for number in range(16)]]
    failed = [said for status, said in told if status != 0 or not said.endswith("ran\n")]
    builds = sum("built environment" in said for _, said in told)
    return {"processes": 16, "failed": len(failed), "builds": builds, "environments": lab.environments - before, "words": failed[:1]}


def look_up(lab: Lab) -> dict[str, object]:
    """What B has asked for in vain is there for B as soon as A has built it."""
    late = []
    for number in range(5):
        lab.script(f"look{number}.py", "import alpha; print('ran')\n", f"alpha>=0.2{number}")
        asked = lab.sharedenv(1, "exec", "--no-build", f"look{number}.py").wait()[0]
        built = lab.sharedenv(0, "build", f"look{number}.py").wait()[0]
        began = time.monotonic()
        while (found := lab.sharedenv(1, "exec", "--no-build", f"look{number}.py").wait()[0]) != 0 and time.monotonic() - began < 60:
            pass
        late.append(round(time.monotonic() - began, 1) if (asked, built, found) == (125, 0, 0) else -1.0)
    return {"asked before": 5, "seconds until it was found, start included": late, "failed": sum(each < 0 for each in late)}


def kills(lab: Lab) -> dict[str, object]:
    """A's builder is killed in the middle; B waits until it counts as dead (60 s), and builds."""
    failed, waited = [], []
    for number in range(2):
        lab.script(f"kill{number}.py", "import alpha; print('ran')\n", f"alpha>=0.3{number}")
        builder = lab.sharedenv(0, "build", f"kill{number}.py")
        while "building" not in builder.said and not builder.ended:
            time.sleep(0.02)
        time.sleep(random.random())
        lab.end(0, builder.folder)
        began = time.monotonic()
        status, said = lab.sharedenv(1, "exec", f"kill{number}.py").wait()
        waited.append(round(time.monotonic() - began))
        failed += [said] if status else []
    return {"killed": 2, "failed": len(failed), "seconds until the other node had it": waited, "words": failed[:1]}


def prune(lab: Lab) -> dict[str, object]:
    """prune without a pause on A, while a run of 12 scripts goes on on B."""
    for number in range(12):
        lab.script(f"case{number}/script.py", "import time; time.sleep(1); import alpha; print('ran')\n", "alpha>=0.4")
    job = lab.sharedenv(1, "run", "-j2", "case*/script.py")
    prunes = 0
    while not job.ended:
        lab.sharedenv(0, "prune", "--unused-for", "0s").wait()
        prunes += 1
    status, said = job.wait()
    return {"cases": 12, "prunes": prunes, "failed": int(status != 0) + 12 - said.count("ran\n"), "words": [said] if status else []}


def resume(lab: Lab) -> dict[str, object]:
    """A run on A is killed in the middle; B goes on with it."""
    for number in range(20):
        lab.script(f"many/case{number}/script.py", "import time; time.sleep(1); open('ran', 'a').write('x')\n", "alpha>=0.5")
    job = lab.sharedenv(0, "run", "-j2", "many/case*/script.py")
    brick = lab.folder / "brick/project/many"
    while len(list(brick.glob("case*/ran"))) < 6 and not job.ended:
        time.sleep(0.1)
    lab.end(0, job.folder)
    began, refused, status, said = time.monotonic(), 0, 1, ""
    while time.monotonic() - began < 240:
        status, said = lab.sharedenv(1, "run", "-j2", "--resume").wait()
        if status == 0:
            break
        refused += 1
        time.sleep(5)
    seconds = round(time.monotonic() - began)
    times = [len(file.read_text()) for file in brick.glob("case*/ran")]
    return {"cases": 20, "failed": 20 - len(times) + int(status != 0), "run twice (cut off in the middle)": sum(each > 1 for each in times),
            "refused at first": refused, "seconds": seconds, "words": [said] if status else []}  # fmt: skip


def workers(lab: Lab) -> dict[str, object]:
    """Workers on A and B take the cases of one run; A is killed in the middle, and another one of B takes what it had claimed."""
    for number in range(60):
        lab.script(f"list/case{number}/script.py", "import time; open('ran', 'a').write('x'); time.sleep(0.5)\n", "alpha>=0.6")
    run = lab.sharedenv(0, "-q", "plan", "list/case*/script.py").wait()[1].split()[-1]
    join = ("join", run, "-j2", "--takeover", "30")
    first, second = lab.sharedenv(0, *join), lab.sharedenv(1, *join)
    brick = lab.folder / "brick/project/list"
    while len(list(brick.glob("case*/ran"))) < 20 and not first.ended:
        time.sleep(0.1)
    lab.end(0, first.folder)
    status, said = second.wait()
    times = [len(file.read_text()) for file in brick.glob("case*/ran")]
    resumed = lab.sharedenv(1, "run", "-j2", "--resume", "--run-id", run, "--lost-too").wait()[0] if len(times) < 60 else 0
    return {"cases": 60, "failed": sum(each > 1 for each in times) + int(status != 0), "begun": len(times), "resumed with": resumed,
            "words": [said] if status else []}  # fmt: skip


def names(lab: Lab) -> dict[str, object]:
    """50 environments of one wheel, whose files are names of uv's cache where it lies beside the pool."""
    for number in range(50):
        lab.script(f"names/{number}.py", "print('ran')\n", f"alpha>=0.0.{number}")
    status, said = lab.sharedenv(0, "build", "names/*.py").wait(900)
    logs = (lab.folder / "brick/project/.sharedenv/logs").glob("*.log")
    copied = sum("installing again, by copying" in log.read_text() for log in logs)
    return {"environments": 50, "by copying": copied, "failed": status, "words": [said[-2000:]] if status else []}


def sound(lab: Lab) -> dict[str, object]:
    """What is left: all sound by every byte, on B; nothing in tmp/ that prune doesn't name."""
    verify = shlex.join([sys.executable, "-m", "sharedenv", "verify", "--json"])
    found = json.loads(lab.shell(1, f"{verify} 2>/dev/null").wait(900)[1])
    lab.sharedenv(0, "prune").wait()
    left = [path.name for path in (lab.folder / "brick/project/.sharedenv/tmp").iterdir()]
    bad = [item["name"] for item in found["environments"] if not item["sound"]]
    return {"environments": len(found["environments"]), "failed": len(bad), "left in tmp/": left}


def soak(name: str, lab_of: Callable[[Path], contextlib.AbstractContextManager[Lab]]) -> bool:
    """All tests on one file system, a line each; whether one failed."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="sharedenv-soak-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        for inside in ("brick/project", "mnt", "jobs"):
            (folder / inside).mkdir(parents=True)
        modules = {"alpha.py": "VERSION = '1'\n", **{f"many/m{number}.py": f"x = {number}\n" for number in range(40)}}
        make_wheel(folder / "wheels", "alpha", "1.0", modules=modules)
        with lab_of(folder) as lab:
            for test in (cold, look_up, prune, resume, workers, *([names] if name == "gluster" else []), kills, sound):
                began = time.monotonic()
                found = test(lab)
                print(f"{name} {test.__name__}: {json.dumps(found)} ({time.monotonic() - began:.0f} s)", flush=True)
                failed |= bool(found["failed"])
        subprocess.run(["chmod", "-R", "u+w", folder], check=False)
    return failed


def main() -> int:
    """Runs what is asked for, in a network of its own."""
    chosen = sys.argv[1] if len(sys.argv) > 1 else "all"
    labs = {"gluster": gluster, "nfs": nfs}
    if chosen not in (*labs, "all"):
        print(__doc__, file=sys.stderr)
        return 2
    wanted = list(labs) if chosen == "all" else [chosen]
    lacking = [program for name in wanted for program in NEEDED[name] if shutil.which(program) is None]
    if lacking or os.geteuid() != 0:
        print(f"needs root, and {', '.join(lacking) or 'nothing else'}\n{__doc__}", file=sys.stderr)
        return 1
    if "SHAREDENV_SOAK_INSIDE" not in os.environ:
        os.environ["SHAREDENV_SOAK_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and nodes end with this
    results = [soak(name, labs[name]) for name in wanted]  # all of them, whatever fails
    return int(any(results))


if __name__ == "__main__":
    sys.exit(main())
