"""The command as people install it, and what a script sees of the caller's variables: all, as it would without us.

The wheel is built by hatchling and installed by pip and by uv; libraries are linked from this suite's own environment.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import filelock
import pytest

from tests.conftest import Project
from tests.wheels import make_wheel

ROOT = Path(__file__).parent.parent.parent
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
BASE = os.path.realpath(sys.executable)  #: a Python that is no virtual environment
REQUIRED = ("click", "filelock", "packaging", "rich", "tomli", "uv")
#: writes what it was given, undecoded
SHOW = "import os\nos.write(1, b'\\0'.join(name + b'=' + value for name, value in os.environb.items()))"

Variables = dict[bytes, bytes]


@pytest.fixture(scope="session")
def wheel(shared_folder: Path) -> Path:
    """The wheel of this checkout, built once for all workers; beside it, empty ones for what it requires."""
    folder = shared_folder / "own-wheel"
    with filelock.FileLock(shared_folder / "own-wheel.lock"):
        if not folder.exists():
            building = shared_folder / "own-wheel.new"
            _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(building), cwd=ROOT)
            for name in REQUIRED:
                make_wheel(building, name, "99", modules={f"empty_{name}.py": ""})
            building.rename(folder)
    [wheel] = folder.glob("sharedenv-*.whl")
    return wheel


def _run(*argv: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    done = subprocess.run(argv, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _link_libraries(packages: Path) -> None:
    """Links what the suite's environment has into a site-packages, but for sharedenv itself."""
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        wanted = path.suffix != ".pth" and "sharedenv" not in path.name and path.name != "__pycache__"
        if wanted and not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)


class Installer:
    """Ways to install the wheel below ``folder``, each without a network."""

    def __init__(self, wheel: Path, folder: Path, env: Mapping[str, str]) -> None:
        self.wheel = wheel
        self.folder = folder
        self.env = {**env, "PIP_NO_INDEX": "1", "PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.env.pop("PYTHONPATH", None)

    def copy(self, name: str = "tool") -> Path:
        """A virtual environment as `venv` makes it, copied from the one of all tests: a second of pip less."""
        first = self.wheel.parent.parent / "own-venv"
        with filelock.FileLock(f"{first}.lock"):
            if not first.exists():
                Installer(self.wheel, first.with_name("own-venv.new"), self.env).venv("tool")
                first.with_name("own-venv.new").rename(first)
        shutil.copytree(first / "tool", self.folder / name, symlinks=True)
        return self.folder / name / "bin" / "sharedenv"

    def venv(self, name: str = "tool") -> Path:
        """pip, in a virtual environment."""
        venv = self.folder / name
        _run(sys.executable, "-m", "venv", "--without-pip", str(venv))
        self._pip(sys.executable, "--python", str(venv / "bin" / "python"), "install", "--no-deps", str(self.wheel))
        return self._finished(venv)

    def editable(self) -> Path:
        """As `pip install -e` leaves it (that needs the network): the package is this checkout's, a .pth file says so."""
        command = self.copy("editable")
        [packages] = command.parent.parent.glob("lib/python3*/site-packages")
        shutil.rmtree(packages / "sharedenv")
        (packages / "_sharedenv.pth").write_text(f"{ROOT}\n")
        return command

    def user(self, home: str = "home") -> Path:
        """pip --user, by a Python that is on nobody's PATH."""
        self.env["HOME"] = str(self.folder / home)
        self._pip(BASE, "install", "--user", "--no-deps", "--ignore-installed", str(self.wheel))
        return self._finished(self.folder / home / ".local")

    def prefix(self) -> Path:
        """pip --prefix."""
        prefix = self.folder / "a prefix"
        self._pip(BASE, "install", "--prefix", str(prefix), "--no-deps", "--ignore-installed", str(self.wheel))
        return self._finished(prefix / "local" if (prefix / "local").is_dir() else prefix)  # Debian's Python has it there

    def target(self) -> Path:
        """pip --target: packages and commands in one folder."""
        folder = self.folder / "target"
        self._pip(BASE, "install", "--target", str(folder), "--no-deps", str(self.wheel))
        _link_libraries(folder)
        return folder / "bin" / "sharedenv"

    def uv_tool(self) -> Path:
        """uv tool install: the command is a link to one in a virtual environment."""
        folders = {"UV_TOOL_DIR": str(self.folder / "uv tools"), "UV_TOOL_BIN_DIR": str(self.folder / "uv bin")}
        uv = os.path.join(sysconfig.get_path("scripts"), "uv")
        found = ["--offline", "--no-index", "--find-links", str(self.wheel.parent)]
        _run(uv, "tool", "install", *found, "--python", BASE, str(self.wheel), env={**self.env, **folders})
        self._finished(self.folder / "uv tools" / "sharedenv")
        return self.folder / "uv bin" / "sharedenv"

    def link(self) -> Path:
        """A link to a link to the command, with a name of its own."""
        command = self.copy("linked\ntool")
        (self.folder / "links").mkdir()
        (self.folder / "links" / "one\n").symlink_to(f"../{command.relative_to(self.folder)}")
        (self.folder / "links" / "two").symlink_to(self.folder / "links" / "one\n")
        return self.folder / "links" / "two"

    def linked_folder(self) -> Path:
        """A folder for PATH that is a link to the commands of a virtual environment."""
        command = self.copy("real")
        (self.folder / "commands").symlink_to(command.parent)
        return self.folder / "commands" / "sharedenv"

    def _pip(self, python: str, *words: str) -> None:
        pip = self.folder / "pip alone"
        if not pip.exists():
            pip.mkdir(parents=True)
            (pip / "pip").symlink_to(Path(sysconfig.get_path("purelib"), "pip"))
        _run(python, "-m", "pip", *words, env={**self.env, "PYTHONPATH": str(pip)})

    @staticmethod
    def _finished(prefix: Path) -> Path:
        [packages] = prefix.glob("lib/python3*/*-packages")
        _link_libraries(packages)
        return prefix / "bin" / "sharedenv"


WAYS: dict[str, Callable[[Installer], Path]] = {
    "pip in a venv": Installer.venv,
    "pip -e": Installer.editable,
    "pip --user": Installer.user,
    "pip --prefix": Installer.prefix,
    "pip --target": Installer.target,
    "uv tool": Installer.uv_tool,
    "behind links": Installer.link,
    "in a folder behind a link": Installer.linked_folder,
}


@pytest.fixture
def installer(wheel: Path, tmp_path: Path, clean_env: dict[str, str]) -> Installer:
    folder = tmp_path / "installed"
    folder.mkdir()
    return Installer(wheel, folder, clean_env)


@pytest.fixture
def built(project: Project) -> Project:
    """A project with one script that shows its variables, and its environment."""
    project.script("case1/script.py", [], SHOW)
    project.build("case1/script.py")
    return project


def _variables(output: bytes) -> Variables:
    return dict(entry.split(b"=", 1) for entry in output.split(b"\0") if entry)


def _output(argv: Sequence[str], project: Project, env: Variables) -> bytes:
    done = subprocess.run(argv, env=env, cwd=project.path, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, b""), (argv, done.stderr.decode())
    return done.stdout


def _plain(env: Mapping[str, str]) -> Variables:
    return {os.fsencode(name): os.fsencode(value) for name, value in env.items() if name != "PYTHONPATH"}


#: names that shells, Python and our own command give a meaning to, and names and values as odd as the kernel lets them be
ODD: Variables = {
    # what /bin/sh scripts call their own, ours once among them
    **dict.fromkeys((b"folder", b"self", b"target", b"packages", b"python", b"prefix", b"version", b"each", b"name", b"given"), b"the caller's"),
    b"BASH_FUNC_module%%": b"() {  echo \"loaded $2\"\n}",
    b"BASH_FUNC_which%%": b"() {  ( alias; eval ${which_declare} ) | /usr/bin/which $@\n}",
    b"BASH_FUNC_broken%%": b"() {  echo ( ",
    b"BASH_FUNC_old()": b"() {  :\n}",
    b"my.setting": b"1", b"my-setting": b"2", b"my setting": b"3", b"1digit": b"4", b"list[0]": b"5", b"\xff\xe9": b"6", "größe".encode(): b"7",
    b"lines": b"\n two\nlines=x\n\n", b"bytes": b"\xff\xfe\x01\x7f\x1e", b"empty": b"", b"spaces": b"  a  b  ", b"quotes": b"'\"\\$HOME`false`*",
    b"equals": b"=a=b=", b"long": b"x" * 100_000,
    # what bash and dash set, or read
    b"_": b"/usr/bin/caller", b"SHLVL": b"3", b"OPTIND": b"7", b"OPTERR": b"0", b"OPTARG": b"x", b"IFS": b",", b"PS1": b"\\u$ ", b"PS2": b">>",
    b"PS4": b"++ ", b"RANDOM": b"4", b"SECONDS": b"900", b"LINENO": b"12", b"PPID": b"1", b"UID": b"77", b"EUID": b"78", b"GROUPS": b"79",
    b"BASH": b"/my/bash", b"BASH_ENV": b"/dev/full", b"ENV": b"/dev/full", b"BASH_VERSION": b"1.0", b"BASHPID": b"1", b"BASH_SUBSHELL": b"9",
    b"BASH_COMMAND": b"x", b"BASH_VERSINFO": b"5", b"SHELLOPTS": b"braceexpand:hashall:xtrace", b"BASHOPTS": b"extglob:nullglob",
    b"POSIXLY_CORRECT": b"1", b"CDPATH": b"/usr", b"GLOBIGNORE": b"*", b"EXECIGNORE": b"*python*", b"TMOUT": b"1", b"COLUMNS": b"33",
    b"LINES": b"11", b"REPLY": b"x", b"DIRSTACK": b"/x", b"FUNCNAME": b"f", b"HISTCMD": b"3", b"COMP_WORDBREAKS": b":", b"EPOCHSECONDS": b"1",
    b"HOSTNAME": b"node7", b"LOADEDMODULES": b"gcc/12:python/3.11", b"OMP_NUM_THREADS": b"4", b"SLURM_JOB_ID": b"4711", b"TZ": b"Asia/Tokyo",
    b"PYTHONHASHSEED": b"7", b"PYTHONDONTWRITEBYTECODE": b"1", b"PYTHONUNBUFFERED": b"1",
    b"PYTHONNOUSERSITE": b"1", b"PYTHONIOENCODING": b"latin-1",
}  # fmt: skip

#: what else a caller may or may not have → what it is for
CALLERS: dict[str, tuple[Variables, tuple[bytes, ...]]] = {
    "all": (ODD, ()),
    "plain": ({b"_": b"/usr/bin/env", b"SHLVL": b"1"}, ()),
    "nothing": ({}, (b"PWD", b"OLDPWD", b"SHLVL", b"_", b"LC_ALL", b"LANG", b"HOME")),
    "a locale that isn't coerced": ({b"PYTHONCOERCECLOCALE": b"0"}, (b"LC_ALL", b"LC_CTYPE", b"LANG")),
    "one that would be": ({b"PYTHONCOERCECLOCALE": b"0", b"LC_CTYPE": b"POSIX"}, (b"LC_ALL", b"LANG")),
    "one that says what coercion does": ({b"PYTHONCOERCECLOCALE": b"0", b"LC_CTYPE": b"C.UTF-8"}, (b"LC_ALL", b"LANG")),
    "odd levels": ({b"SHLVL": b"0", b"OLDPWD": b"/is/gone", b"PS1": b"$ "}, (b"_",)),
    "a shell in posix mode": ({b"POSIXLY_CORRECT": b"y", b"SHLVL": b"007", b"IFS": b""}, ()),
}


def _caller(project: Project, which: str) -> Variables:
    more, without = CALLERS[which]
    env = {**_plain(project.env), b"PWD": os.fsencode(project.path), b"OLDPWD": b"/usr", b"SHLVL": b"2", **more}
    return {name: value for name, value in env.items() if name not in without}


def _expect_the_callers(seen: Variables, expected: Variables, *changed: bytes) -> None:
    names = {name for name in {*seen, *expected} if seen.get(name) != expected.get(name)}
    assert names - {b"VIRTUAL_ENV", b"PATH", b"PWD", *changed} == set()
    assert seen[b"PATH"].partition(b":")[2] == expected[b"PATH"]


def _of_a_case(name: str, seen: Variables) -> list[bytes]:
    """What a case of a run is told of itself, all of it; `exec` tells nothing."""
    told = sorted(variable for variable in seen if variable.startswith(b"SHAREDENV_CASE_"))
    assert told == ([] if name == "exec" else [b"SHAREDENV_CASE_" + word for word in (b"ATTEMPT", b"NUMBER", b"RUN", b"SLOT")])
    return told


def _commands(command: Path) -> dict[str, list[str]]:
    return {
        "exec": [str(command), "exec", "case1/script.py"],
        "run": [str(command), "-q", "run", "case1/script.py"],
        "run --preload": [str(command), "-q", "run", "--preload", "case1/script.py"],
    }


def test_the_pages_for_people_come_along(wheel: Path) -> None:
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "sharedenv" / "docs").glob("*.md")}
    assert pages and pages <= set(zipfile.ZipFile(wheel).namelist())


def test_there_are_enough_odd_variables() -> None:
    assert len(ODD) >= 40


@pytest.mark.parametrize("way", WAYS)
def test_a_script_sees_what_its_caller_has(way: str, built: Project, installer: Installer) -> None:
    """By every way of installing, by all ways of starting: the whole environment, compared with what bare Python sees."""
    command = WAYS[way](installer)
    python = str(built.environments[0] / "bin" / "python")
    caller = _caller(built, "all")
    expected = _variables(_output([python, "case1/script.py"], built, caller))
    assert {**caller, **expected} == expected, "the whole of it"
    for name, argv in _commands(command).items():
        seen = _variables(_output(argv, built, caller))
        _expect_the_callers(seen, expected, *_of_a_case(name, seen))


@pytest.mark.parametrize("which", CALLERS)
def test_whatever_its_caller_has_or_lacks(which: str, built: Project, installer: Installer) -> None:
    command = installer.copy("a=b")  # env takes this for a variable
    python = str(built.environments[0] / "bin" / "python")
    caller = _caller(built, which)
    expected = _variables(_output([python, "case1/script.py"], built, caller))
    for name, argv in _commands(command).items():
        seen = _variables(_output(argv, built, caller))
        _expect_the_callers(seen, expected, *_of_a_case(name, seen))


def _exec_prints(argv: Sequence[str | Path], project: Project, *, cwd: Path | None = None, **variables: str) -> bool:
    """Whether a call ends well and its script shows what it was given."""
    env = {**_plain(project.env), **_plain(variables), b"MARK": b"seen"}
    script = os.fsencode(project.path / "case1/script.py")
    done = subprocess.run([*map(os.fsencode, argv), b"exec", script], env=env, cwd=cwd, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return b"\0MARK=seen" in b"\0" + done.stdout


def test_however_it_is_called(built: Project, installer: Installer) -> None:
    """By a relative path, through PATH (an empty entry is the current folder), from a folder with dots, by a name in no UTF-8."""
    command = installer.copy("it's a \"tool\" $HOME")
    folder = command.parent
    assert _exec_prints(["./sharedenv"], built, cwd=folder)
    assert _exec_prints(["bin/sharedenv"], built, cwd=folder.parent)
    assert _exec_prints(["../bin/./sharedenv"], built, cwd=folder)
    for shell in ("bash", "dash"):
        for path in (":/usr/bin:/bin", "/usr/bin:/bin:", f"{folder}:/usr/bin:/bin", ".:/usr/bin:/bin"):
            line = [shell, "-c", 'PATH=$1; shift; exec sharedenv "$@"', shell, path]
            assert _exec_prints(line, built, cwd=folder), (shell, path)
    moved = os.fsencode(installer.folder) + b"/n\xff o"
    os.rename(folder.parent, moved)
    assert _exec_prints([os.fsdecode(moved + b"/bin/sharedenv")], built)
    (installer.folder / "\udcfe").symlink_to(os.fsdecode(moved + b"/bin/sharedenv"))
    assert _exec_prints([installer.folder / "\udcfe"], built)


@pytest.mark.parametrize("way", ["pip --user", "pip --prefix"])
def test_its_python_is_found_though_it_is_not_on_path(way: str, built: Project, installer: Installer, tmp_path: Path) -> None:
    """A job without its `module load`, with another Python on PATH, and variables for that."""
    command = WAYS[way](installer)
    (tmp_path / "other").mkdir()
    for name in ("python", "python3", VERSION):
        (tmp_path / "other" / name).write_text("#!/bin/sh\necho not this one; exit 9\n")
        (tmp_path / "other" / name).chmod(0o755)
    env = {**built.env, "PATH": f"{tmp_path / 'other'}:/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONHOME": "/nowhere", "PYTHONPATH": str(tmp_path / "other")}
    done = subprocess.run([command, "exec", "case1/script.py"], env={**env, "PYTHONEXECUTABLE": "/usr/bin/python3"}, cwd=built.path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    seen = _variables(done.stdout)
    assert seen[b"PYTHONPATH"] == os.fsencode(env["PYTHONPATH"])
    assert not {b"PYTHONHOME", b"PYTHONEXECUTABLE"} & set(seen), "they lead the script's own Python away"
    version = subprocess.run([command, "--version"], env=env, capture_output=True, text=True, check=False)
    assert (version.returncode, version.stderr) == (0, ""), "the full way, too"


def test_a_python_that_is_gone_is_looked_for_on_path(built: Project, installer: Installer, tmp_path: Path) -> None:
    """The one that its packages are for; else it is said what is missing."""
    command = installer.user()
    told = command.with_name("sharedenv-python")
    first, rest = told.read_text().split("\n", 1)
    assert first == f"#!{BASE}"
    told.write_text(f"#!/apps/python/3.11.4/bin/{VERSION}\n{rest}")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / VERSION).symlink_to(BASE)
    assert _exec_prints([command], built, PATH=f"{tmp_path / 'path'}:/usr/bin:/bin")
    done = subprocess.run([command, "exec", "case1/script.py"], env={"PATH": str(tmp_path)}, cwd=built.path, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr == (
        f"error: no Python to start sharedenv with\n  cause: /apps/python/3.11.4/bin/{VERSION} is not there, and {VERSION} is not on PATH\n\n"
        "hint: python3 -m pip install --force-reinstall sharedenv\n"
    )


@pytest.mark.parametrize("path", ["/apps/my python's/bin/python3", "/apps/" + "long/" * 40 + "python3"])
def test_what_uv_writes_for_a_long_or_odd_path_is_read(path: str, built: Project, installer: Installer, tmp_path: Path) -> None:
    """As a command of sh, quoted."""
    command = installer.user()
    python = str(tmp_path) + path
    os.makedirs(os.path.dirname(python))
    os.symlink(BASE, python)
    quoted = python.replace("'", "'\"'\"'")
    told = command.with_name("sharedenv-python")
    told.write_text(f"#!/bin/sh\n'''exec' '{quoted}' \"$0\" \"$@\"\n' '''\n" + told.read_text().split("\n", 1)[1])
    assert _exec_prints([command], built, PATH="/usr/bin:/bin")


def test_a_python_of_another_version_in_its_place_is_told(built: Project, installer: Installer) -> None:
    command = installer.copy()
    [packages] = command.parent.parent.glob("lib/python3*/site-packages")
    packages.parent.rename(packages.parent.with_name("python3.1"))
    done = subprocess.run([command, "exec", "case1/script.py"], env=_plain(built.env), cwd=built.path, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert re.fullmatch(r"error: \S+/bin/python can't start sharedenv\n  cause: No module named 'sharedenv', .*\n\nhint: .*\n", done.stderr), done.stderr


def test_activation_changes_what_it_says_and_no_more(built: Project, installer: Installer) -> None:
    """Beside what bash, which evaluates it, has made of the caller's variables."""
    command = installer.copy()
    line = 'eval "$({0})"; exec "$1" case1/script.py'
    python = str(built.environments[0] / "bin" / "python")
    caller = _caller(built, "all")
    for name in (b"BASH_ENV", b"SHELLOPTS", b"BASHOPTS", b"BASH_FUNC_broken%%"):  # bash says something about them, or does it
        del caller[name]
    for name in (b"EPOCHSECONDS", b"EPOCHREALTIME", b"RANDOM", b"SRANDOM", b"SECONDS"):  # bash gives another value each time
        caller.pop(name, None)
    expected, seen = (
        _variables(_output(["bash", "-c", line.format(words), "bash", python], built, {**caller, b"COMMAND": os.fsencode(command)}))
        for words in ("true", '"$COMMAND" activate case1/script.py')
    )
    _expect_the_callers(seen, expected, b"VIRTUAL_ENV_PROMPT")
    assert seen[b"BASH_FUNC_module%%"] == caller[b"BASH_FUNC_module%%"]


def test_a_function_that_a_job_exports_is_there_in_what_the_script_calls(built: Project, installer: Installer) -> None:
    command = installer.copy()
    built.script("case1/script.py", [], "import subprocess\nprint(subprocess.run('module load gcc', shell=True, executable='/bin/bash', capture_output=True, text=True))")
    job = f'module () {{ echo "loaded $2"; }}; export -f module; export folder=/data/case7 self=me; "{command}" exec case1/script.py; "{command}" -q run case1/script.py'
    told = built.shell(job)
    assert told.count(r"returncode=0, stdout='loaded gcc\n'") == 2, told


def test_signals_and_descriptors_are_the_callers(built: Project, installer: Installer) -> None:
    """What is ignored stays ignored, what is closed stays closed; nothing is open that was not."""
    command = installer.copy()
    built.script("case1/script.py", [], "import os\nprint([line for line in open('/proc/self/status') if line.startswith(('SigIgn', 'SigBlk'))])\nprint(sorted(os.listdir('/proc/self/fd'))[:-1])")
    python = str(built.environments[0] / "bin" / "python")
    ignored = (signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT, signal.SIGTSTP)

    def told(*argv: str) -> list[str]:
        line = "".join(f"trap '' {number.value}; " for number in ignored) + 'exec "$@" <&-'
        return subprocess.run(["bash", "-c", line, "bash", *argv, "case1/script.py"], cwd=built.path, env=_plain(built.env), capture_output=True, text=True, check=True).stdout.splitlines()

    bare, ours = told(python), told(str(command), "exec")
    assert ours[0] == bare[0]
    assert len(ours[1].split(",")) == len(bare[1].split(",")) + 1, "the manifest, which is held"
