"""The house as it is meant to be: who imports whom, and which library is used where (DESIGN, section 2)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("architecture")  # one worker reads the package

PACKAGE = Path(__file__).parent.parent.parent / "sharedenv"

#: room → the rooms it may import; a room is a module of the package or a folder of it
MAY_IMPORT = {
    "values": set(),
    "errors": set(),
    "secret": set(),
    "start": {"errors"},
    "process": {"errors"},
    "script": {"errors", "secret", "start"},
    "key": {"errors", "script", "secret", "start"},
    "pool": {"errors", "key", "process", "script", "secret", "start"},
    "build": {"copies", "errors", "key", "pool", "process", "script", "secret", "start"},
    "care": {"build", "copies", "errors", "key", "pool", "script", "start"},
    "copies": {"errors", "key", "pool", "start"},
    "run": {"care", "errors", "key", "pool", "process", "start"},
    "cluster": {"errors", "pool", "process", "run", "start"},
    "report": {"cluster", "errors", "key", "pool", "run", "start"},
    "app": {"build", "care", "cluster", "copies", "errors", "key", "pool", "process", "report", "run", "script", "start"},
    "cli": {"app", "build", "care", "cluster", "copies", "errors", "key", "pool", "process", "report", "run", "script", "start"},
    "api": {"app", "build", "cli", "cluster", "errors", "key", "pool", "process", "report", "run", "start"},
    "entry": {"cli", "errors", "start"},
    "fast": {"entry"},
    "loader": {"entry"},
    "__main__": {"entry"},
    "__init__": {"api", "errors", "pool"},
}
ANYWHERE = {"values"}  #: rooms that all may import: how a value is written down
#: what of Python itself a start may load: each of thousands pays for it
START_MAY_IMPORT = {"posix", "sys", "time", "fcntl", "_sha2", "_sha256"}
#: module → what else it may load, and when
START_MAY_ALSO = {
    "access": {"errno", "json"},  # where a call has failed; for a path with letters beyond ASCII
    "fingerprint": {"hashlib", "os.path"},  # where Python has no sha256 by itself; for a script that is a link
    "regular": {"_stat", "errno"},  # it is loaded for a copy on the node, and by who reads more than one file
    "distrust": {"grp", "os.path", "pwd", "shlex"},  # it is loaded for a message
    "find_pool": {"os.path"},  # where no pool lies above the path as it was typed
    "entry": {"gc", "os.path", "site"},  # for a path that is not in normal form; for the full way
    "activation": {"os"},  # it is loaded by `activate` alone
    "staged": {"__future__", "collections.abc", "os"},  # it is loaded where SHAREDENV_STAGE is set
}
#: room → the only modules of another room that it may import: errors and notes have numbers and names in them
NO_MORE = {"app": {"report": {"names", "words"}}}
#: library → the only rooms that may import it
ONLY_IN = {
    "subprocess": {"process"},
    "filelock": {"pool"},
    "packaging": {"key"},
    "click": {"cli"},
    "plotly": {"report"},
    "rich": {"report"},
    "tomli": {"key", "script"},
}


def _room(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def _nodes(module: Path) -> list[ast.AST]:
    """All nodes of the tree of a module, for tests that change none."""
    return list(ast.walk(ast.parse(module.read_text())))


@cache
def _imports(module: Path) -> set[str]:
    """Dotted names of all that a module imports, at its top or inside functions (there are no lazy cycles either)."""
    names = set()
    for node in _nodes(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide who imports whom"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_imports_run_one_way() -> None:
    for module in MODULES:
        room = _room(module)
        assert room in MAY_IMPORT, f"a new room, {room}: say in MAY_IMPORT what it may import"
        for name in _imports(module):
            top, _, rest = name.partition(".")
            if top == "sharedenv" and rest and (target := rest.split(".")[0]) != room and target != "__version__":
                assert target in MAY_IMPORT[room] | ANYWHERE, f"{module}: {room} imports {target}"
                if (admitted := NO_MORE.get(room, {}).get(target)) is not None and "." in rest:
                    assert rest.split(".")[1] in admitted, f"{module}: {room} imports {rest}"
            assert room in ONLY_IN.get(top, {room}), f"{module}: {room} imports {top}, which belongs in {ONLY_IN[top]}"


@pytest.mark.parametrize("module", [PACKAGE / "entry.py", *sorted((PACKAGE / "start").glob("*.py"))], ids=lambda path: path.stem)
def test_what_a_start_may_load(module: Path) -> None:
    tree = _NotForTypes().visit(ast.parse(module.read_text()))
    loaded = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    loaded |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    strange = {name for name in loaded if name.partition(".")[0] != "sharedenv"} - START_MAY_IMPORT
    assert strange == START_MAY_ALSO.get(module.stem, set())


class _NotForTypes(ast.NodeTransformer):
    """A module without what only type checkers read."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def test_rooms_form_no_cycle() -> None:
    order: list[str] = []
    waiting = dict(MAY_IMPORT)
    while waiting:
        free = [room for room, needs in waiting.items() if needs <= set(order)]
        assert free, f"a cycle among {sorted(waiting)}"
        order += free
        for room in free:
            del waiting[room]


def test_modules_of_one_room_form_no_cycle() -> None:
    graph = {
        ".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts): {
            name for name in _imports(module) if name.startswith("sharedenv.")
        }
        for module in MODULES
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a cycle: {' → '.join((*path, name))}"
        if name in graph and name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_nothing_prints_or_exits_below_its_room() -> None:
    """Results are printed in report/, the process ends in cli/ and in the entry."""
    for module in MODULES:
        for node in _nodes(module):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called != "print" or _room(module) == "report", f"{module} prints"
                assert called != "sys.exit" or _room(module) in {"cli", "__main__", "loader"}, f"{module} exits"


#: modules about the command line itself: its frame, its types of values, what the user gave
KNOW_CLICK = {"main", "anywhere", "options", "arguments", "completion", "given", "help", "scripts"}


def test_only_a_command_knows_the_context_of_click() -> None:
    """Whatever it calls gets values (``pool: str | None``, a console …), so that it can be called without a command line."""
    commands = [module for module in (PACKAGE / "cli").glob("*.py") if module.stem not in KNOW_CLICK]
    for module, node in [(command, node) for command in commands for node in _nodes(command)]:
        if isinstance(node, ast.FunctionDef) and "click.pass_context" not in map(ast.unparse, node.decorator_list):
            known = [each.arg for each in [*node.args.posonlyargs, *node.args.args] if each.annotation and "click.Context" in ast.unparse(each.annotation)]
            assert known in ([], ["ctx"]), f"{module.stem}.{node.name} takes click's context"  # ctx: click's own signatures
        assert not (isinstance(node, ast.Attribute) and node.attr == "get_current_context"), f"{module.stem} asks click for its context"


def test_values_are_written_with_frozen() -> None:
    """`dataclass` itself only where frozen does not do: a repr that must not show, cached properties, what changes."""
    found = {
        f"{module.relative_to(PACKAGE)}: {node.name}"
        for module in MODULES
        for node in _nodes(module)
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    }
    assert found == {"key/uv_inputs.py: Inputs", "app/project.py: Project", "run/preload/server.py: Server"}


WRITE = {"pool", "build", "care", "copies", "run", "cluster"}  #: rooms that make files in a pool


def _makes(call: ast.Call) -> bool:
    """Whether a call may make a file or a folder."""
    name = ast.unparse(call.func)
    if name == "open" and ast.unparse(call.args[0]) != "descriptor":
        modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
        return any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wxa") for mode in modes)
    return name in ("os.mkdir", "os.makedirs") or (name in ("os.open", "posix.open") and "O_CREAT" in ast.unparse(call))


def _calls(modules: Iterable[Path], wanted: Callable[[ast.Call], bool]) -> Iterator[tuple[Path, ast.Call]]:
    """Each call of a kind, with the module that makes it."""
    return ((module, node) for module in modules for node in _nodes(module) if isinstance(node, ast.Call) and wanted(node))


def test_what_is_made_in_a_pool_is_writable_for_its_maker_alone_whatever_the_umask() -> None:
    """Each place that makes a file or a folder says so itself (pool/files.py); but for what a run's user has named."""
    writers = [module for module in MODULES if _room(module) in WRITE and module.name not in ("joblog.py", "spool.py", "place.py")]
    for module, call in _calls(writers, _makes):
        mode = next((word.value for word in call.keywords if word.arg in ("opener", "mode")), call.args[-1])
        where = f"{module.name}:{call.lineno}: {ast.unparse(call)}"
        assert ast.unparse(mode) in ("private", "FILE", "FOLDER", "384", "420", "448"), where


#: modules of these rooms that open what is no pool's, the user's own files and the kernel's; and pool/files, for those who write
READS_OTHERS = {
    "app/project.py", "app/read_table.py", "cli/help.py", "pool/files.py", "build/pyenv.py", "run/binding.py",
    "run/joblog.py", "run/node.py", "run/spool.py",
}  # fmt: skip
#: what a call may open to read as it likes: the kernel's files, /dev/null, a folder, a descriptor
NOT_IN_A_POOL = re.compile(r"""f?['"]/proc/|os\.devnull$|['"]\.['"]$|descriptor$|\d$|open_regular\(""")


def _reads(call: ast.Call) -> bool:
    """Whether a call opens a file to read it."""
    name = ast.unparse(call.func)
    words = ast.unparse(call)
    if name == "open":
        modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
        return not any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wxa") for mode in modes)
    return (name in ("os.open", "posix.open") and "O_CREAT" not in words and "O_DIRECTORY" not in words) or name.endswith((".read_bytes", ".read_text"))


def test_what_is_in_a_pool_is_opened_by_one_module() -> None:
    """start/regular: a pipe in the place of a file is not waited for, nothing is read without end."""
    readers = [module for module in MODULES if _room(module) in WRITE | {"app", "cli"} and module.parent.name != "forkserver"]
    for module, call in _calls([module for module in readers if str(module.relative_to(PACKAGE)) not in READS_OTHERS], _reads):
        assert NOT_IN_A_POOL.match(ast.unparse(call.args[0])), f"{module.name}:{call.lineno}: {ast.unparse(call)}"


def test_a_start_waits_for_no_pipe() -> None:
    for module, call in _calls((PACKAGE / "start").glob("*.py"), lambda call: ast.unparse(call.func) == "posix.open"):
        assert {"O_NONBLOCK", "O_CREAT"} & set(re.findall(r"O_[A-Z]+", ast.unparse(call))) or ast.unparse(call.args[1]) == "flags", f"{module.name}:{call.lineno}"


PURE = [module for module in MODULES if re.search(r"\bPure(\.|;| \()", module.read_text().partition("\n")[0])]


def test_pure_modules_touch_no_disk_clock_or_environment() -> None:
    about_names = {"os.fsdecode", "os.fsencode", "os.path", "os.pathsep", "os.strerror"}
    of_paths = {f"os.path.{name}" for name in ("basename", "dirname", "isabs", "join", "normpath", "relpath", "split", "splitext")}
    for module in PURE:
        impure = {"glob", "pathlib", "posix", "shutil", "socket", "subprocess", "tempfile", "time"}
        assert not {name.partition(".")[0] for name in _imports(module)} & impure, module
        used = {ast.unparse(node) for node in _nodes(module) if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("os.")}
        used = {name for name in used if not name.startswith("os.fsencode(") and not name.startswith("os.path.splitext(")}
        assert used <= about_names | of_paths, module
        assert not list(_calls([module], lambda call: ast.unparse(call.func) == "open")), module


def test_many_modules_are_pure() -> None:
    assert len(PURE) > 30


#: modules outside of cli/ and start/ that read the environment or the current folder by themselves; no new one is wanted
READ_THE_ENVIRONMENT = {
    "app/build.py", "app/execute.py", "app/export.py", "app/join.py", "app/needs.py", "app/project.py", "app/work.py", "build/builder.py", "care/doctor.py", "cluster/task.py", "copies/stage.py",
    "copies/unpack.py", "key/plan.py", "key/settings.py", "pool/health.py", "pool/location.py", "pool/missing.py",
    "pool/store.py", "pool/trial.py", "pool/turn.py", "report/building.py", "report/console.py", "run/journal/owned.py",
    "run/leftovers.py",
}


def test_the_environment_and_the_current_folder_are_handed_down() -> None:
    """cli/, api/ and start/ read them, and pass on values: what is below works for any folder and any environment, twice in a process."""
    found = {
        str(module.relative_to(PACKAGE))
        for module in MODULES
        if _room(module) not in ("api", "cli", "start") and module.parent.name != "forkserver"
        for node in _nodes(module)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv", "os.getcwd", "os.getcwdb", "posix.environ", "posix.getcwd")
    }
    assert found == READ_THE_ENVIRONMENT


def test_a_class_has_a_name_of_its_own() -> None:
    """Who reads one name in two modules reads of one thing. The fork server is a house apart: it runs in other Pythons."""
    modules: dict[str, list[str]] = {}
    for module in MODULES:
        for node in _nodes(module):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and module.parent.name != "forkserver":
                modules.setdefault(node.name, []).append(str(module.relative_to(PACKAGE)))
    assert not {name: found for name, found in modules.items() if len(found) > 1}
