"""The house as it is meant to be: who imports whom, and which library is used where (DESIGN, section 2)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sharedenv"

#: room → the rooms it may import; a room is a module of the package or a folder of it
MAY_IMPORT = {
    "frozen": set(),
    "digest": set(),
    "errors": set(),
    "environ": set(),
    "process": {"errors"},
    "activation": {"environ", "errors"},
    # reading: bytes → scripts
    "block": set(),
    "locate": set(),
    "script": {"block", "locate"},
    "discover": {"errors"},
    "problems": {"discover", "errors", "script"},
    # the key: scripts and settings → payload → key
    "lock": set(),
    "secret": set(),
    "requirement": {"secret"},
    "readers": {"requirement", "secret"},
    "tool_uv": {"readers", "requirement", "secret"},
    "uv_variables": set(),
    "config": {"errors", "readers", "script", "secret", "tool_uv", "uv_variables"},
    "settings": {"config", "environ", "errors", "readers", "requirement", "secret", "uv_variables"},
    "payload": {"digest", "script"},
    "key": {"digest", "lock", "payload", "readers", "requirement", "script", "settings", "tool_uv"},
    "difference": {"payload"},
    "canonical": {"errors", "key", "lock", "payload", "requirement", "secret", "settings", "uv_variables"},
    "fingerprint": {"digest", "environ", "uv_variables"},
    "plan": {"block", "digest", "discover", "payload", "problems", "script"},
    "uv": {"errors", "process"},
    "pool": {
        "block", "canonical", "difference", "digest", "fingerprint", "environ", "errors", "key", "payload", "plan", "problems", "process", "script",
        "secret", "settings", "uv",
    },
    "run": {"environ", "errors", "plan", "pool", "process", "settings"},
    "slurm": {"environ", "errors", "plan", "pool", "process", "run", "settings"},
    "report": {"errors", "plan", "pool", "run", "slurm"},
    "cli": {
        "activation", "difference", "discover", "environ", "errors", "fingerprint", "key", "payload", "plan", "pool", "process",
        "report", "run", "settings", "slurm",
    },
    "fast": {"activation", "block", "cli", "environ", "errors", "fingerprint", "pool"},
    "__main__": {"fast"},
    "__init__": set(),
}
ANYWHERE = {"frozen"}  #: rooms that all may import: how a value is written down
#: library → the only rooms that may import it
ONLY_IN = {
    "subprocess": {"process"},
    "filelock": {"pool"},
    "packaging": {"requirement"},
    "click": {"cli"},
    "rich": {"report"},
    "tomli": {"config", "script"},
}


def _room(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(module: Path) -> set[str]:
    """Dotted names of all that a module imports, at its top or inside functions (there are no lazy cycles either)."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide who imports whom"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(module: Path) -> None:
    room = _room(module)
    assert room in MAY_IMPORT, f"a new room, {room}: say in MAY_IMPORT what it may import"
    for name in _imports(module):
        top, _, rest = name.partition(".")
        if top == "sharedenv" and rest and (target := rest.split(".")[0]) != room and target != "__version__":
            assert target in MAY_IMPORT[room] | ANYWHERE, f"{room} imports {target}"
        assert room in ONLY_IN.get(top, {room}), f"{room} imports {top}, which belongs in {ONLY_IN[top]}"


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
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called != "print" or _room(module) == "report", f"{module} prints"
                assert called != "sys.exit" or _room(module) in {"cli", "__main__"}, f"{module} exits"


def test_values_are_written_with_frozen() -> None:
    """`dataclass` itself only where frozen does not do: a repr that must not show, cached properties, what changes."""
    found = {
        f"{module.relative_to(PACKAGE)}: {node.name}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    }
    assert found == {"canonical.py: Inputs", "cli/common.py: Session", "run/server.py: Server"}


def _makes(call: ast.Call) -> bool:
    """Whether a call may make a file or a folder."""
    name = ast.unparse(call.func)
    if name == "open" and ast.unparse(call.args[0]) != "descriptor":
        modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
        return any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wxa") for mode in modes)
    return name in ("os.mkdir", "os.makedirs") or (name in ("os.open", "posix.open") and "O_CREAT" in ast.unparse(call))


@pytest.mark.parametrize("module", [module for module in MODULES if _room(module) in ("pool", "run", "slurm")], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_made_in_a_pool_is_writable_for_its_maker_alone_whatever_the_umask(module: Path) -> None:
    """Each place that makes a file or a folder says so itself (pool/private.py); but for the files that a run's user has named."""
    if module.name in ("joblog.py", "spool.py"):
        return
    for call in (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call) and _makes(node)):
        mode = next((word.value for word in call.keywords if word.arg in ("opener", "mode")), call.args[-1])
        where = f"{module.name}:{call.lineno}: {ast.unparse(call)}"
        assert ast.unparse(mode) in ("private", "FILE", "FOLDER", "384", "420", "448"), where
