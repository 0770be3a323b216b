"""`run --preload`: imports are made once, what is not safe is started the plain way with a word, and no end is lost."""

from __future__ import annotations

import _ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sharedenv.run import groups
from sharedenv.run.batch import Batch
from sharedenv.run.case import Case
from sharedenv.run.preload.starter import DEATHS, SERVERS, PreloadStarter
from sharedenv.run.queue import Queue
from sharedenv.run.starter import Prepared
from sharedenv.run.terms import BatchOptions
from tests.conftest import Project
from tests.faults import preloaded
from tests.run.test_batch import Watcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are shared on Linux only")
PYTHON = str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"))


class Bench:
    """A starter, a folder of modules on PYTHONPATH and folders of cases."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.modules = path / "modules"
        self.modules.mkdir()
        self.notices: list[str] = []
        self.starter = PreloadStarter(self.notices.append)
        self.variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.modules), "HOME": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
        self.ended: dict[int, int] = {}
        self.outputs: list[Output] = []
        self._count = 0

    def module(self, name: str, text: str) -> None:
        path = self.modules / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)

    def start(self, text: str, *, files: dict[str, str] | None = None) -> tuple[int, Output]:
        self._count += 1
        folder = self.path / f"case{self._count}"
        folder.mkdir()
        (folder / "script.py").write_text(text)
        for name, content in (files or {}).items():
            (folder / name).write_text(content)
        os.chdir(folder)
        output = Output()
        self.outputs.append(output)
        case = Case(self._count, str(folder / "script.py"))
        self.starter.warm(case.script, Prepared(PYTHON, self.variables))
        pid = self.starter.start(case, Prepared(PYTHON, self.variables), output.stdout.fileno(), output.stderr.fileno())
        return pid, output

    def wait(self, pid: int) -> int:
        deadline = time.monotonic() + 120
        while pid not in self.ended:
            assert time.monotonic() < deadline, "it did not end, or nobody was told"
            select.select(self.starter.descriptors(), [], [], 0.02)
            self.ended.update((one.pid, os.waitstatus_to_exitcode(one.status)) for one in self.starter.reap())
        return self.ended[pid]

    def run(self, text: str, *, files: dict[str, str] | None = None) -> tuple[int, str, str]:
        pid, output = self.start(text, files=files)
        status = self.wait(pid)
        return status, *output.texts()

    def servers(self) -> list[int]:
        return [server.pid for server in self.starter._servers.values() if not server.refused]


class Output:
    def __init__(self) -> None:
        self.stdout = tempfile.TemporaryFile()
        self.stderr = tempfile.TemporaryFile()

    def texts(self) -> tuple[str, str]:
        for file in (self.stdout, self.stderr):
            file.seek(0)
        texts = self.stdout.read().decode(), self.stderr.read().decode()
        self.stdout.close()
        self.stderr.close()
        return texts


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    home = os.getcwd()
    bench = Bench(tmp_path)
    yield bench
    os.chdir(home)
    bench.starter.close()
    for output in bench.outputs:
        output.stdout.close()
        output.stderr.close()


#: makes a process slow on its way into the calls that wait: what comes meanwhile comes between Python's look for signals and the call
LATE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
static void late(void) { struct timespec left = {0, 100000000}; while (nanosleep(&left, &left)); }
int poll(struct pollfd *files, nfds_t count, int patience) {
    late();
    return ((int (*)(struct pollfd *, nfds_t, int)) dlsym(RTLD_NEXT, "poll"))(files, count, patience);
}
ssize_t recvmsg(int file, struct msghdr *message, int flags) {
    late();
    return ((ssize_t (*)(int, struct msghdr *, int)) dlsym(RTLD_NEXT, "recvmsg"))(file, message, flags);
}
"""


def test_an_end_that_comes_just_before_the_server_waits_is_told(bench: Bench) -> None:
    """With a handler that reaps, 1 in some 10,000 pairs of ends was told with the next one only, so the last of a run never."""
    bench.variables.update(preloaded(bench.path, LATE))
    bench.module("heavy.py", "")
    for _ in range(2):
        assert bench.run("import heavy\n")[0] == 0


def test_modules_are_imported_once_for_all_cases(bench: Bench) -> None:
    bench.module("heavy.py", "open(__file__ + '.count', 'a').write('x')\nVALUE = 3\n")
    for _ in range(5):
        assert bench.run("import heavy\nprint(heavy.VALUE)\n")[:2] == (0, "3\n")
    assert (bench.modules / "heavy.py.count").read_text() == "x"
    assert bench.notices == []


def test_cases_do_not_see_each_other(bench: Bench) -> None:
    bench.module("heavy.py", "VALUE = []\n")
    for _ in range(3):
        assert bench.run("import heavy\nheavy.VALUE.append(1)\nprint(heavy.VALUE)\n")[1] == "[1]\n"


#: a module that puts something down for C's exit, as the libraries that scripts import do
PUTS_DOWN = """import ctypes
libc = ctypes.CDLL(None)
libc.strdup.restype = ctypes.c_void_p
libc.__cxa_atexit(ctypes.cast(libc.puts, ctypes.c_void_p), ctypes.c_void_p(libc.strdup(b"put down")), None)
"""


def test_what_an_unknown_library_has_put_down_for_the_end_is_done(bench: Bench) -> None:
    unknown = shutil.copy(_ctypes.__file__, bench.path / "libown.so")
    bench.module("heavy.py", f"{PUTS_DOWN}ctypes.PyDLL({str(unknown)!r})\n")
    assert bench.run("import heavy\n")[:2] == (0, "put down\n")
    assert bench.run("import heavy\nraise SystemExit(4)\n")[:2] == (4, "put down\n")
    assert bench.notices == []


def test_the_memory_of_a_case_is_what_it_does_not_share(bench: Bench) -> None:
    bench.module("heavy.py", "BALLAST = bytes(1) * (200 << 20)\n")
    told: dict[str, int | None] = {}
    for name, text in (("small", "import heavy\n"), ("large", "import heavy\nhis = bytes(1) * (300 << 20)\n")):
        pid, _ = bench.start(text)
        deadline = time.monotonic() + 60
        while name not in told:
            assert time.monotonic() < deadline
            select.select(bench.starter.descriptors(), [], [], 0.02)
            told.update((name, one.memory) for one in bench.starter.reap() if one.pid == pid)
    small, large = told["small"], told["large"]
    assert small is not None and small < 50 << 20
    assert large is not None and 290 << 20 < large < 400 << 20


def test_the_imports_are_made_by_the_parent(bench: Bench) -> None:
    bench.module("heavy.py", "import os\nWHO = os.getpid()\n")
    assert bench.run("import heavy, os\nprint(heavy.WHO == os.getppid())\n")[1] == "True\n"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(1,), daemon=True).start()\n", "`import heavy` starts threads"),
        ("import _thread, time\n_thread.start_new_thread(time.sleep, (60,))\n", "`import heavy` starts threads"),
        ("print('hello')\n", "`import heavy` writes output (hello)"),
        ("import warnings\nwarnings.warn('beware')\n", "`import heavy` writes output"),
        ("import os\nos.write(2, b'from below')\n", "`import heavy` writes output (from below)"),
        ("FILE = open(__file__)\n", "`import heavy` keeps "),
        ("import socket\nPAIR = socket.socketpair()\n", "`import heavy` keeps a socket open"),
        ("import subprocess\nCHILD = subprocess.Popen(['sleep', '5'])\n", "`import heavy` starts a process"),
        ("import os\nHERE = os.path.abspath('data')\n", "heavy.HERE remembers the folder it was imported in"),
        ("import os\nos.chdir('/')\n", "an import changes the current folder"),
        ("import sys, io\nsys.stdout = io.TextIOWrapper(open(1, 'wb', closefd=False))\n", "`import heavy` replaces the standard streams"),
        ("import sys\nsys.settrace(lambda *_: None)\n", "a tracer or profiler is at work"),
        ("import tempfile\nFOLDER = tempfile.TemporaryDirectory()\n", "`import heavy` makes temporary files"),
        ("open('made', 'w').close()\n", "`import heavy` writes to the current folder"),
        ("import mmap\nSHARED = mmap.mmap(-1, 4096)\n", "`import heavy` keeps memory that forks share"),
        ("import multiprocessing\nLOCK = multiprocessing.Lock()\n", "`import heavy` keeps memory that forks share"),
        ("import random\nRNG = random.Random()\n", "heavy.RNG would give all cases the same random numbers"),
        ("import random\nimport csv\nrandom.seed(1)\n", "`import heavy` seeds or uses the global generator of random"),
        ("import os\nPID = os.getpid()\n", "heavy.PID remembers the process it was imported in"),
        ("import pathlib\nHERE = pathlib.Path.cwd() / 'data'\n", "heavy.HERE remembers the folder it was imported in"),
        ("import sys\nHERE = sys.path[0]\n", "heavy.HERE remembers the folder it was imported in"),
        ("import sys\nNAME = sys.argv[0]\n", "heavy.NAME remembers the folder it was imported in"),
        ("import sys, types\nsys.modules['mpi4py.MPI'] = types.ModuleType('MPI')\n", "mpi4py starts MPI when it is imported"),
        ("import sys, types\nsys.modules['cupy'] = types.ModuleType('cupy')\n", "cupy uses CUDA"),
    ],
)
def test_what_is_not_safe_to_fork_is_started_the_plain_way_with_a_word(bench: Bench, module: str, reason: str) -> None:
    bench.module("heavy.py", module + "import os\nWHO = os.getpid()\n")
    text = "import heavy\nimport os, sys\nsys.__stdout__.write(str(heavy.WHO == os.getpid()))\n"
    for _ in range(2):
        status, stdout, _ = bench.run(text)
        assert (status, stdout[-4:]) == (0, "True")
    assert len(bench.notices) == 1
    assert bench.notices[0].startswith(f"--preload: {reason}")
    assert bench.notices[0].endswith("; started the plain way")


def test_an_import_that_fails_shows_its_own_traceback(bench: Bench) -> None:
    bench.module("heavy.py", "1 / 0\n")
    status, _, stderr = bench.run("import heavy\n")
    assert status == 1
    assert stderr.count("File") == 2
    assert "ZeroDivisionError" in stderr
    assert bench.notices == ["--preload: `import heavy` fails with ZeroDivisionError; started the plain way"]


def test_an_import_that_kills_the_server_hurts_no_other_case(bench: Bench) -> None:
    bench.module("heavy.py", "import os, sys\nif not hasattr(sys.modules['__main__'], '__cached__'): os.abort()\n")
    assert bench.run("import heavy\nprint('fine')\n")[:2] == (0, "fine\n")
    assert bench.run("print('fine, too')\n")[:2] == (0, "fine, too\n")
    assert bench.notices == ["--preload: the process that imports ended; started the plain way"]


def test_threads_that_stop_for_a_fork_are_no_reason(bench: Bench) -> None:
    # as OpenBLAS does it: stopped before a fork, started again when there is work
    bench.module(
        "heavy.py",
        "import os, _thread\ngo, gone = _thread.allocate_lock(), _thread.allocate_lock()\ngo.acquire()\ngone.acquire()\n"
        "def work():\n    go.acquire()\n    gone.release()\n"
        "_thread.start_new_thread(work, ())\nruns = [True]\n"
        "def stop():\n    if runs:\n        runs.clear()\n        go.release()\n        gone.acquire()\n"
        "os.register_at_fork(before=stop)\nWHO = os.getpid()\n",
    )
    assert bench.run("import heavy, os\nprint(heavy.WHO == os.getppid())\n")[:2] == (0, "True\n")
    assert bench.notices == []


def test_a_file_that_an_import_reads_in_the_folder(bench: Bench) -> None:
    bench.module("matplotlib.py", "import os\nWHO = os.getpid()\n")
    text = "import matplotlib, os\nprint(matplotlib.WHO == os.getpid())\n"
    assert bench.run(text)[1] == "False\n"
    assert bench.run(text, files={"matplotlibrc": ""})[1] == "True\n"
    assert bench.run(text)[1] == "False\n"
    assert bench.notices == ["--preload: matplotlib reads matplotlibrc of the current folder; started the plain way"]


def test_a_module_beside_the_script_comes_first(bench: Bench) -> None:
    bench.module("heavy.py", "import inner\n")
    bench.module("inner.py", "VALUE = 'shared'\n")
    text = "import heavy, inner\nprint(inner.VALUE)\n"
    assert bench.run(text)[1] == "shared\n"
    assert bench.run(text, files={"inner.py": "VALUE = 'own'\n"})[1] == "own\n"
    assert bench.notices == ["--preload: inner.py in the script's folder comes before the module inner; started the plain way"]


def test_modules_of_the_folder_are_imported_by_the_case(bench: Bench) -> None:
    bench.module("heavy.py", "import os\nWHO = os.getpid()\n")
    text = "import heavy, os\nimport own\nimport json\nprint(heavy.WHO == os.getppid(), own.WHO == os.getpid())\n"
    assert bench.run(text, files={"own.py": "import os\nWHO = os.getpid()\n"})[1] == "True True\n"
    assert bench.notices == ["--preload: not all imports are shared: no module own outside the script's folder"]


def test_relative_entries_of_pythonpath(bench: Bench) -> None:
    bench.variables["PYTHONPATH"] = "lib"
    assert bench.run("import os\nprint('ran')\n")[1] == "ran\n"
    assert bench.notices == ["--preload: PYTHONPATH has entries that depend on the script's folder; started the plain way"]


def test_random_numbers_differ(bench: Bench) -> None:
    bench.module("numpy/__init__.py", "def frombuffer(data, kind): return data.hex()\n")
    bench.module("numpy/random/__init__.py", "from numpy.random import mtrand\n")
    bench.module(
        "numpy/random/mtrand.py",
        "class RandomState:\n    state = 1\n    def get_state(self): return (self.state,)\n"
        "    def set_state(self, state): self.state = state[1]\n_rand = RandomState()\n",
    )
    text = "import random, numpy.random, tempfile, uuid\nprint(random.random(), numpy.random.mtrand._rand.state)\n"
    seen = [bench.run(text)[1].split() for _ in range(3)]
    assert len({first for first, _ in seen}) == 3
    assert len({second for _, second in seen}) == 3


def test_destructors_of_what_was_there_before_the_fork(bench: Bench) -> None:
    bench.module(
        "heavy.py",
        "class Told:\n    def __init__(self): self.notes = []\n    def __del__(self, open=open):\n"
        "        with open('told', 'w') as file: file.write(repr(self.notes))\n"
        "TOLD = Told()\n",
    )
    bench.run("import heavy\nheavy.TOLD.notes.append('from the case')\n")
    assert (bench.path / "case1" / "told").read_text() == "['from the case']"


def test_each_case_leads_its_process_group_and_can_be_ended(bench: Bench) -> None:
    pid, output = bench.start("import time\nprint('on', flush=True)\ntime.sleep(100)\n")
    assert os.getpgid(pid) == pid
    os.killpg(pid, signal.SIGTERM)
    assert bench.wait(pid) == -signal.SIGTERM
    output.texts()


@pytest.mark.parametrize("way", ["killed from outside", "killed by a case"])
def test_a_server_that_dies_loses_no_case(bench: Bench, way: str) -> None:
    waits = "import os, sys, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')\nsys.exit(7)\n"
    pid, output = bench.start(waits)
    (server,) = bench.servers()
    folder = Path.cwd()
    if way == "killed by a case":
        # not before its start was told: a case that may have run is never started again, which is another answer
        kills, told = bench.start("import os, sys, time\nwhile not os.path.exists('kill'): time.sleep(0.01)\nos.kill(os.getppid(), 9)\n")
        (Path.cwd() / "kill").touch()
        assert bench.wait(kills) == 0
        told.texts()
    else:
        os.kill(server, signal.SIGKILL)
    assert bench.run("import os, sys, time\nprint('next')\n")[:2] == (0, "next\n")
    assert server not in bench.servers()
    (folder / "go").touch()
    assert bench.wait(pid) == 7
    assert output.texts()[0] == "done\n"


def test_servers_that_keep_dying_are_given_up(bench: Bench) -> None:
    for _ in range(DEATHS + 2):
        assert bench.run("import os, time\nprint('ran')\n")[:2] == (0, "ran\n")
        _until(lambda: not bench.starter._opening)  # its successor comes up beside the case, which may end first
        for server in bench.servers():
            os.kill(server, signal.SIGKILL)
            os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    assert bench.notices == ["--preload: the process with these imports died several times; started the plain way"]


def test_a_script_that_changes_its_imports_gets_another_server(bench: Bench) -> None:
    bench.run("import json\n")
    bench.run("import json\nimport csv\n")
    bench.run("import json\n")
    assert len(bench.servers()) == 2


def test_the_number_of_servers_is_limited(bench: Bench) -> None:
    for number in range(SERVERS + 3):
        bench.module(f"m{number}.py", "")
        assert bench.run(f"import m{number}\nprint({number})\n")[1] == f"{number}\n"
        assert len(bench.servers()) <= SERVERS


def test_closing_ends_the_servers(bench: Bench) -> None:
    bench.run("import json\n")
    (server,) = bench.servers()
    bench.starter.close()
    assert not Path(f"/proc/{server}").exists()
    bench.starter = PreloadStarter(bench.notices.append)


def test_a_server_ends_with_its_client_and_cases_go_on(tmp_path: Path) -> None:
    client = tmp_path / "client.py"
    script = tmp_path / "script.py"
    script.write_text("import os, time\nopen('started', 'w').write(str(os.getpid()))\nos.replace('started', 'pid')\n"
                      "for _ in range(6000):\n    if os.path.exists('go'): break\n    time.sleep(0.01)\nopen('finished', 'w').close()\n")
    client.write_text(
        "import os, sys, time\nfrom sharedenv.run.preload.starter import PreloadStarter\n"
        "from sharedenv.run.case import Case\nfrom sharedenv.run.starter import Prepared\n"
        "starter = PreloadStarter(print)\n"
        f"prepared = Prepared({PYTHON!r}, {{'PATH': '/bin'}})\nstarter.warm({str(script)!r}, prepared)\n"
        f"starter.start(Case(1, {str(script)!r}), prepared, 1, 2)\n"
        "print([server.pid for server in starter._servers.values()][0], flush=True)\ntime.sleep(100)\n"
    )
    env = {"PYTHONPATH": str(Path(__file__).parent.parent.parent), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen([sys.executable, str(client)], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = int(process.stdout.readline())
    _until((tmp_path / "pid").exists)
    process.kill()
    process.wait()
    process.stdout.close()
    _until(lambda: not _runs(server))
    (tmp_path / "go").touch()
    _until((tmp_path / "finished").exists)

@pytest.mark.parametrize("kind", ["the same kind", "another kind"])
def test_nothing_waits_for_a_server_that_imports(bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # cases that run meanwhile have time-outs, and the user has Ctrl-C
    bench.run("import json\n")
    bench.module("slow.py", "import time\nif not hasattr(__import__('__main__'), '__cached__'): time.sleep(3)\n")
    text = "import slow\nprint('ran')\n" if kind == "the same kind" else "import slow, csv\nprint('ran')\n"
    monkeypatch.setattr(bench.starter, "warm", lambda *_: None)
    for _ in range(3):
        began = time.monotonic()
        pid, output = bench.start(text)
        assert time.monotonic() - began < 2
        assert bench.wait(pid) == 0
        assert output.texts()[0] == "ran\n"
    assert bench.notices == []
    _until(lambda: len(bench.servers()) == 2)


def test_without_a_thread_for_the_imports_cases_go_the_plain_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(bench.starter, "warm", lambda *_: None)
    monkeypatch.setattr(threading.Thread, "start", refused)  # where a real limit strikes depends on what runs just then
    for _ in range(3):
        assert bench.run("import os\nprint('ran')\n")[:2] == (0, "ran\n")
    assert bench.notices == ["--preload: no thread can wait for the imports: can't start new thread; started the plain way"]


def test_a_server_ends_with_its_client_while_it_imports(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import os, time\nopen(os.environ['TOLD'], 'w').write(str(os.getpid()))\ntime.sleep(100)\n")
    (tmp_path / "script.py").write_text("import slow\n")
    told = tmp_path / "told"
    variables = {"PATH": "/bin", "PYTHONPATH": str(tmp_path), "TOLD": str(told)}
    client = (
        "from sharedenv.run.preload.starter import PreloadStarter\nfrom sharedenv.run.starter import Prepared\n"
        f"PreloadStarter(print).warm({str(tmp_path / 'script.py')!r}, Prepared({PYTHON!r}, {variables!r}))\n"
    )
    env = {"PYTHONPATH": str(Path(__file__).parent.parent.parent), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen([sys.executable, "-c", client], env=env)
    _until(lambda: told.exists() and told.read_text() != "")
    server = int(told.read_text())
    process.kill()
    process.wait()
    _until(lambda: not _runs(server), 10)


def test_closing_ends_servers_that_import(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.module("slow.py", "import time\nif not hasattr(__import__('__main__'), '__cached__'): time.sleep(100)\n")
    temporary = bench.path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(bench.starter, "warm", lambda *_: None)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for _ in range(2):
        assert bench.run("import slow\n")[0] == 0
    _until(lambda: list(temporary.iterdir()) != [])
    (server,) = bench.starter._processes
    bench.starter.close()
    bench.starter = PreloadStarter(bench.notices.append)
    assert not Path(f"/proc/{server}").exists()
    assert list(temporary.iterdir()) == []
    assert bench.notices == []


def test_orphans_of_cases_leave_no_zombies(bench: Bench) -> None:
    text = "import os, time\nif not os.fork():\n    with open('new', 'w') as file: file.write(str(os.getpid()))\n    os.rename('new', 'pid')\n    time.sleep(0.5)\n"
    bench.run(text)
    _until((bench.path / "case1" / "pid").exists)
    orphan = int((bench.path / "case1" / "pid").read_text())
    _until(lambda: not _runs(orphan))
    list(bench.starter.reap())
    assert not Path(f"/proc/{orphan}").exists()


def test_files_that_are_no_modules_are_no_reason(bench: Bench) -> None:
    bench.module("heavy.py", "import os\nWHO = os.getpid()\n")
    text = "import heavy, os\nprint(heavy.WHO == os.getppid())\n"
    files = {"heavy.csv": "", "heavy.cpython-21-other.so": "", "heavy.py.bak": ""}
    assert bench.run(text, files=files)[:2] == (0, "True\n")
    assert bench.notices == []


def test_a_module_that_an_import_looks_for_in_vain(bench: Bench) -> None:
    bench.module("heavy.py", "try:\n    import faster as VALUE\nexcept ImportError:\n    VALUE = None\n")
    text = "import heavy\nprint(heavy.VALUE is None)\n"
    assert bench.run(text)[1] == "True\n"
    assert bench.run(text, files={"faster.txt": ""})[1] == "True\n"
    assert bench.notices == []
    assert bench.run(text, files={"faster.py": ""})[1] == "False\n"
    assert bench.notices == ["--preload: faster.py in the script's folder is looked for by a module; started the plain way"]


@pytest.mark.parametrize("variable", ["PYTHONINSPECT", "PYTHONVERBOSE", "PYTHONPROFILEIMPORTTIME", "PYTHONMALLOCSTATS"])
def test_variables_that_make_the_interpreter_speak(bench: Bench, variable: str) -> None:
    bench.variables[variable] = "1"
    assert bench.run("print('ran')\n")[:2] == (0, "ran\n")
    assert bench.notices == [f"--preload: {variable} is set; started the plain way"]


def test_settings_of_matplotlib_by_a_relative_path(bench: Bench) -> None:
    bench.module("matplotlib.py", "")
    bench.variables["MATPLOTLIBRC"] = "mine"
    assert bench.run("import matplotlib\nprint('ran')\n")[1] == "ran\n"
    assert bench.notices == ["--preload: matplotlib reads mine of the current folder; started the plain way"]


def test_output_of_the_first_import_on_a_machine_only(bench: Bench) -> None:
    # as matplotlib builds its list of fonts
    bench.module("heavy.py", "import os, sys\nif not os.path.exists(__file__ + '.made'):\n    open(__file__ + '.made', 'w').close()\n    print('building')\nWHO = os.getpid()\n")
    assert bench.run("import heavy, os\nprint(heavy.WHO == os.getppid())\n")[1] == "True\n"
    assert bench.notices == []


def test_a_server_that_gets_no_folder_is_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stayed, with all that it had imported, and later a zombie."""
    bench.module("heavy.py", "")
    script = bench.path / "script.py"
    script.write_text("import heavy")
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    monkeypatch.setattr(tempfile, "tempdir", str(bench.path / "removed"))
    bench.starter.warm(str(script), Prepared(PYTHON, bench.variables))
    assert any("can't be started: No such file or directory" in notice for notice in bench.notices), bench.notices
    assert children.read_text() == before


def test_a_timer_that_was_cancelled_is_no_thread(bench: Bench) -> None:
    bench.module("heavy.py", "import os, threading\ntimer = threading.Timer(60, print)\ntimer.start()\ntimer.cancel()\nWHO = os.getpid()\n")
    assert bench.run("import heavy, os\nprint(heavy.WHO == os.getppid())\n")[1] == "True\n"
    assert bench.notices == []


def test_the_first_entry_of_the_path_during_the_imports(bench: Bench) -> None:
    bench.module("heavy.py", "import sys\nsys.path.insert(0, '/added')\nsys.path.append('/last')\n")
    folder = bench.path / "case1"
    assert bench.run("import heavy, sys\nprint(sys.path[:2], sys.path[-1])\n")[1] == f"{['/added', str(folder)]} /last\n"


def test_a_folder_without_a_name(bench: Bench) -> None:
    # longer than a path may be, and removed: it is given as it is open
    pid, output = bench.start("import os, time\nwhile os.path.exists('../go'): time.sleep(0.01)\n")
    assert bench.wait(pid) == 0
    output.texts()
    folder = bench.path / "gone"
    folder.mkdir()
    script = bench.path / "case1" / "script.py"
    script.write_text("import os, time\nprint(os.path.exists('.'), os.listdir('.'))\n")
    os.chdir(folder)
    folder.rmdir()
    found = Output()
    prepared = Prepared(PYTHON, bench.variables)
    pid = bench.starter.start(Case(7, str(script)), prepared, found.stdout.fileno(), found.stderr.fileno())
    assert bench.wait(pid) == 0
    assert found.texts() == ("True []\n", "")


def test_run_preload(project: Project) -> None:
    body = "import json, os\nprint('ppid', os.getppid())\nimport sys\nsys.exit(len(os.path.basename(os.getcwd())) - 5)"
    project.copies(12, [], body)
    done = project.call("run", "-j2", "--preload", "--joblog", "log.txt", "case*/script.py", status=1)
    assert len(set(done.stdout.splitlines())) == 1, "all are forks of one server"
    assert "9 succeeded" in done.stderr and "3 failed" in done.stderr
    plain = project.call("run", "-j2", "case*/script.py", status=1)
    assert "9 succeeded" in plain.stderr and "3 failed" in plain.stderr


def test_run_preload_says_why_not(project: Project) -> None:
    project.copies(3, [], "import os\nprint(os.getcwd())\nimport json")
    done = project.call("run", "--preload", "case*/script.py")
    assert done.stderr.count("--preload: not all imports are shared: line 6 comes before `import json`") == 1


def test_run_preload_time_out_and_capture(project: Project) -> None:
    project.copies(2, [], "import time\nprint('begun', flush=True)\ntime.sleep(100)")
    done = project.call("run", "--preload", "--timeout", "3", "--grace", "5", "--capture", "out.txt", "case*/script.py", status=1)
    assert "2 failed" in done.stderr
    assert (project.path / "case1" / "out.txt").read_text() == "begun\n"


#: a case that stops the server it was forked by, once that sleeps: it has told then that the case was started
STOPS = """\
import json, os, signal, time
while ") S " not in open(f"/proc/{os.getppid()}/stat").read(): time.sleep(0.01)
os.kill(os.getppid(), signal.SIGSTOP)
open("stopped", "w")
time.sleep(600)
"""


def test_a_server_that_is_stopped_does_not_outlast_the_users_patience(project: Project) -> None:
    project.script("script.py", [], STOPS)
    process = project.start("run", "--preload", "--grace", "60", "script.py")
    _until((project.path / "stopped").exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "SIGINT: killing what still runs" in stderr
    assert "1 interrupted" in stderr


def test_a_server_that_is_stopped_does_not_outlast_a_time_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_GIVE_UP", 0.2)
    (bench.path / "script.py").write_text(STOPS)
    case = Case(1, str(bench.path / "script.py"))
    prepared = Prepared(PYTHON, bench.variables)
    bench.starter.warm(case.script, prepared)
    batch = Batch(Queue([case]), bench.starter, BatchOptions(1, timeout=0.5, grace=0.1), Watcher())
    batch.deliver(case.key, prepared)
    assert batch.run().results[1].error == "timed out after 0.5 s"
    assert (bench.path / "stopped").exists()


def _runs(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
