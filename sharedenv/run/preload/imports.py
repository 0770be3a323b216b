"""The modules a script imports before it does anything else, found by parsing it. Pure.

Only the beginning of a script counts: its statements in order, up to the first that could do something an import might
see (or that an import might see differently). What follows is imported by each case itself. So the order of imports, and
what was set before them, are what they are without us.
"""

from __future__ import annotations

import ast
import sys
import warnings

from sharedenv.values import frozen


@frozen
class Imports:
    """``statements``: source of each and the top-level modules it needs to find; ``left``: why later imports are not in;
    ``unparsed``: why there are none at all.
    """

    statements: tuple[tuple[str, tuple[str, ...]], ...]
    left: str = ""
    unparsed: str = ""


def find_imports(data: bytes) -> Imports:
    """The imports at the beginning of a script. Where it can't be parsed, its own Python (a newer one?) knows better."""
    try:
        with warnings.catch_warnings(action="ignore"):  # they are for the script's output
            body = ast.parse(data).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f"line {line}" if line else "the script"
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return Imports((), unparsed=f"{where} can't be parsed by the Python {version} that looks for the imports")
    finder = _Finder()
    for index, statement in enumerate(body):
        if not finder.take(statement):
            later = _next_import(body[index:])
            where = f"line {statement.lineno} comes before `{later}`" if later else ""
            return Imports(tuple(finder.statements), where)
    return Imports(tuple(finder.statements))


class _Finder:
    def __init__(self) -> None:
        self.statements: list[tuple[str, tuple[str, ...]]] = []
        self._names: dict[str, str] = {}  # bound so far → the module

    def take(self, statement: ast.stmt) -> bool:  # noqa: PLR0911 - a return for each kind of statement
        """Whether the walk may go on behind this statement."""
        match statement:
            case ast.Import() | ast.ImportFrom():
                return self._import(statement)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                return True
            case ast.Assign(targets=targets, value=value) if _is_literal(value):
                return self._assign(targets, statement)
            case ast.AnnAssign(target=ast.Name() as target, value=value, annotation=annotation):
                return (value is None or _is_literal(value)) and _is_plain(annotation) and self._bind([target])
            case ast.Expr(value=ast.Call() as call):
                return self._setting(call)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return _defines_only(statement) and self._free(statement.name)
            case ast.If(test=test, orelse=[]):
                return _never_true(test)
            case ast.Try(body=body, orelse=[], finalbody=[]):
                return all(isinstance(one, ast.Import | ast.ImportFrom) and self._import(one) for one in body)
        return False

    def _import(self, statement: ast.Import | ast.ImportFrom) -> bool:
        if isinstance(statement, ast.ImportFrom):
            if statement.level or statement.module is None:
                return False
            if statement.module == "__future__":
                return True
            modules = [statement.module]
        else:
            modules = [alias.name for alias in statement.names]
            for alias in statement.names:
                bound = alias.asname or alias.name.partition(".")[0]
                self._names[bound] = alias.name if alias.asname else bound
        self.statements.append((ast.unparse(statement), tuple(dict.fromkeys(name.partition(".")[0] for name in modules))))
        return True

    def _assign(self, targets: list[ast.expr], statement: ast.Assign) -> bool:
        if len(targets) == 1 and self._is_environ(targets[0], statement.value):
            if _depends_on_folder(statement.value):
                return False
            self.statements.append((ast.unparse(statement), ()))
            return True
        return self._bind(targets)

    def _is_environ(self, target: ast.expr, value: ast.expr) -> bool:
        # os.environ["NAME"] = "value": done before the imports as the script does it, and harmless to do twice
        match target:
            case ast.Subscript(value=ast.Attribute(value=ast.Name(id=name), attr="environ"), slice=ast.Constant(value=str())):
                return self._names.get(name) == "os" and isinstance(value, ast.Constant) and isinstance(value.value, str)
        return False

    def _setting(self, call: ast.Call) -> bool:
        # matplotlib.use("Agg"), os.environ.setdefault("NAME", "value"): the same
        if not all(isinstance(word, ast.Constant) and isinstance(word.value, str) for word in call.args) or call.keywords:
            return False
        match call.func:
            case ast.Attribute(value=ast.Name(id=name), attr="use"):
                known = self._names.get(name) == "matplotlib" and len(call.args) == 1
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id=name), attr="environ"), attr="setdefault"):
                known = self._names.get(name) == "os" and len(call.args) == 2
            case _:
                return False
        if known and not _depends_on_folder(*call.args[1:]):
            self.statements.append((ast.unparse(call), ()))
            return True
        return False

    def _bind(self, targets: list[ast.expr]) -> bool:
        return all(isinstance(target, ast.Name) and self._free(target.id) for target in targets)

    def _free(self, name: str) -> bool:
        return name not in self._names


def _depends_on_folder(*values: ast.expr) -> bool:
    # a relative path is another place in each folder, and an import may make it absolute
    texts = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return any(text.startswith(".") or ("/" in text and not text.startswith("/") and ":" not in text) for text in texts)


def _is_literal(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float() | complex())):
            return True
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return all(_is_literal(item) for item in items)
        case ast.Dict(keys=keys, values=values):
            return all(isinstance(key, ast.Constant) for key in keys) and all(_is_literal(value) for value in values)
    return False


def _is_plain(annotation: ast.expr) -> bool:
    """Whether evaluating an annotation can't import anything: no attribute, no call."""
    kinds = (ast.Name, ast.Constant, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.operator, ast.expr_context)
    return all(isinstance(node, kinds) for node in ast.walk(annotation))


def _defines_only(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    annotations = [each.annotation for each in every if each.annotation] + ([function.returns] if function.returns else [])
    defaults = [*given.defaults, *filter(None, given.kw_defaults)]
    plain = all(_is_plain(one) for one in annotations) and all(_is_literal(one) for one in defaults)
    return plain and not function.decorator_list and not getattr(function, "type_params", ())


def _never_true(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(value=ast.Name(id="typing"), attr="TYPE_CHECKING"):
            return True
    return False


def _next_import(body: list[ast.stmt]) -> str:
    for statement in body:
        for node in ast.walk(statement) if not isinstance(statement, ast.FunctionDef | ast.ClassDef) else ():
            if isinstance(node, ast.Import | ast.ImportFrom):
                return ast.unparse(node)
    return ""
