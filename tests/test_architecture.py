"""The house as it is meant to be: who imports whom, and which library is used where (DESIGN, section 2)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sharedenv"

#: room → the rooms it may import; a room is a module of the package or a folder of it
MAY_IMPORT = {
    "frozen": set(),
    "errors": set(),
    "start": {"errors"},
    "process": {"errors"},
    # reading: bytes → scripts
    "locate": set(),
    "script": {"locate", "start"},
    "discover": {"errors"},
    "problems": {"discover", "errors", "script"},
    # the key: scripts and settings → payload → key
    "lock": set(),
    "secret": set(),
    "requirement": {"secret"},
    "readers": {"requirement", "secret"},
    "tool_uv": {"readers", "requirement", "secret"},
    "config": {"errors", "readers", "script", "secret", "start", "tool_uv"},
    "settings": {"config", "errors", "readers", "requirement", "secret", "start"},
    "payload": {"script", "start"},
    "key": {"lock", "payload", "readers", "requirement", "script", "settings", "start", "tool_uv"},
    "difference": {"payload"},
    "canonical": {"errors", "key", "lock", "payload", "requirement", "secret", "settings", "start"},
    "plan": {"discover", "payload", "problems", "script", "start"},
    "uv": {"errors", "process"},
    "pool": {
        "canonical", "difference", "errors", "key", "payload", "plan", "problems", "process", "script", "secret", "settings", "start",
        "tool_uv", "uv",
    },
    "run": {"errors", "plan", "pool", "process", "settings", "start"},
    "slurm": {"errors", "plan", "pool", "process", "run", "settings", "start"},
    "report": {"errors", "plan", "pool", "run", "slurm", "start"},
    "cli": {
        "difference", "discover", "errors", "key", "payload", "plan", "pool", "process", "report", "run", "settings", "slurm", "start",
    },
    "entry": {"cli", "errors", "start"},
    "__main__": {"entry"},
    "__init__": set(),
}
ANYWHERE = {"frozen"}  #: rooms that all may import: how a value is written down
#: what of Python itself a start may load: each of thousands pays for it
START_MAY_IMPORT = {"posix", "sys", "time", "errno", "fcntl", "_stat", "_sha2", "_sha256"}
#: module → what else it may load, and when
START_MAY_ALSO = {
    "digest": {"hashlib"},  # where Python has no sha256 by itself
    "trust": {"grp", "os.path", "pwd", "shlex"},  # for a message
    "entry": {"gc", "os.path", "site"},  # for a path that is not in normal form; for the full way
    "activation": {"os"},  # it is loaded by `activate` alone
    "staged": {"__future__", "collections.abc", "os"},  # it is loaded where SHAREDENV_STAGE is set
}
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
