"""One module in place of nine, for the wheel: what every `exec`, `which` and `activate` loads (used by the build, see pyproject.toml).

Python's import system takes a tenth of a millisecond and up to a dozen file-system calls for each module, of which the fast way
(sharedenv/fast.py) has nine. In the wheel they also stand one behind the other in sharedenv/start/sharedenv_start.py, the imports
between them left out, and the command takes that. Where it is not, as in an editable installation, the command takes the nine.
"""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: each after those whose names it needs at its top level
MODULES = (
    "sharedenv", "sharedenv.start.digest", "sharedenv.start.environ", "sharedenv.start.uv_variables", "sharedenv.start.block", "sharedenv.start.fingerprint",
    "sharedenv.start.access", "sharedenv.start.trust", "sharedenv.entry",
)
PLACE = "sharedenv/start/sharedenv_start.py"  #: below the folder that has the package


class AmalgamationHook(BuildHookInterface[Any]):
    """Puts the module into a wheel that is built; not into an editable one, whose sources change."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        if version != "editable":
            self._folder = tempfile.TemporaryDirectory()
            made = Path(self._folder.name, "module.py")
            made.write_text(amalgamated(Path(self.root)), encoding="utf-8")
            build_data["force_include"][str(made)] = PLACE


def amalgamated(root: Path) -> str:
    """The source of the one module. Raises ValueError when two modules give a name to different things."""
    statements: list[ast.stmt] = []
    owners: dict[str, str] = {}
    for module in MODULES:
        path = root.joinpath(*module.split("."))
        tree = _Alone().visit(ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")))
        for name in _names(tree):
            if owners.setdefault(name, module) != module:
                raise ValueError(f"{owners[name]} and {module} both have a {name}: give one of them another name")
        statements += tree.body
    text = ast.unparse(ast.fix_missing_locations(ast.Module(statements, [])))
    return f"# Made by scripts/amalgamate.py of {', '.join(MODULES)}.\n{text}\n"


class _Alone(ast.NodeTransformer):
    """A module without what it imports from the others, and without its imports for types."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        if node.module not in MODULES:
            return node
        if any(alias.asname for alias in node.names):
            raise ValueError(f"line {node.lineno}: what is imported from {node.module} must keep its name")
        return None

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.AST]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse]
        return self.generic_visit(node)


def _names(tree: ast.Module) -> set[str]:
    """What a module defines at its top level; several may import the same."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names - {"TYPE_CHECKING"}
