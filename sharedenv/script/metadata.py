"""Raw block → what a script asks for, checked field by field (PEP 723). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import tomli

from sharedenv.script.locate import line_of
from sharedenv.start.block import Block, BlockError, find_block
from sharedenv.values import frozen

NO_BLOCK = "no `# /// script` block in it"
MAX_DEPTH = 80  #: levels of nesting; uv's TOML reader stops here, and Python's stack would soon
KEYS = {"dependencies": list, "requires-python": str, "tool": dict}  #: all that PEP 723 knows, and what each holds
_NEARLY = re.compile(rb"^#[ \t]*///[ \t]*script[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_INVALID = "the block is not valid TOML: "
#: words of a first line that change nothing of what is run
_HARMLESS = frozenset(["run", "--script", "-s", "--gui-script", "--quiet", "-q", "--verbose", "-v", "--no-project", "--no-progress", "--"])
_HELD = "has no effect: versions are held, and `sharedenv build {} SCRIPT` moves them"
_NUMBERS = range(-(2**127), 2**128)  # what uv's TOML reader holds


class ScriptError(ValueError):
    """One bad script: ``line`` is 1-based (None: the whole file), ``field`` a dotted name: ``dependencies[2]``."""

    def __init__(self, message: str, *, line: int | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.field = field


@frozen
class Metadata:
    """A metadata block, parsed but not normalised: the strings are the user's."""

    requires_python: str | None
    dependencies: tuple[str, ...]
    uv: Mapping[str, Any]  # the table [tool.uv], as TOML gave it
    block: Block  # where it came from: errors found later point into it
    idle: tuple[tuple[str, str], ...] = ()  # fields that have no effect, each with what is to be said of it


def parse_script(data: bytes) -> Metadata:
    """Metadata of a script's bytes (all of them). Raises ScriptError."""
    return parse_block(read_block(data))


def read_block(data: bytes) -> Block:
    """The raw block of a script's bytes (all of them). Raises ScriptError, also when there is none."""
    try:
        block = find_block(data)
    except BlockError as error:
        raise ScriptError(error.message, line=error.line) from None
    if block is None:
        if meant := _NEARLY.search(data):
            line = data.count(b"\n", 0, meant.start()) + 1
            raise ScriptError(f"the opening line must be `# /// script`, not `{meant[0].decode().strip()}`", line=line)
        raise ScriptError(NO_BLOCK)
    return block


def parse_block(block: Block) -> Metadata:
    """Metadata of a raw block. Raises ScriptError.

    As PEP 723 and uv have it: other top-level keys and other tools' tables are ignored, whatever they hold.
    """
    document = _load(block)
    requires_python = document.get("requires-python")
    if requires_python is not None and not isinstance(requires_python, str):
        raise _wrong(block, "requires-python", 'a string, such as ">=3.10"', requires_python)
    dependencies = document.get("dependencies", [])
    if not isinstance(dependencies, list):
        raise _wrong(block, "dependencies", 'a list of strings, such as ["numpy>=1.26"]', dependencies)
    for index, item in enumerate(dependencies):
        if not isinstance(item, str):
            raise _wrong(block, f"dependencies[{index}]", 'a string, such as "numpy>=1.26"', item)
    tool = document.get("tool", {})
    if not isinstance(tool, dict):
        raise _wrong(block, "tool", "a table", tool)
    uv = tool.get("uv", {})
    if not isinstance(uv, dict):
        raise _wrong(block, "tool.uv", "a table", uv)
    unknown = [(key, _unknown(key, value)) for key, value in document.items() if key not in KEYS]
    return Metadata(requires_python, tuple(dependencies), uv, block, (*unknown, *_idle(uv, dependencies)))


def uv_options(data: bytes) -> str:
    """What the first line of a script gives `uv run` beside the script (``--python 3.13``), as it stands there; "" for nothing.

    It counts where the file itself is started, and nowhere else: neither under `uv run SCRIPT`.
    """
    line = data[:512].partition(b"\n")[0] if data.startswith(b"#!") else b""  # more than any kernel reads of it
    words = line[2:].decode("utf-8", "replace").split()
    names = [word.rpartition("/")[2] for word in words]
    if "uv" not in names:
        return ""
    place = names.index("uv")
    if next((name for name in names[place:] if name in ("run", "tool")), "") != "run":
        return ""
    set_before = [word for word in words[:place] if word.startswith("UV_") and "=" in word]
    return " ".join([*set_before, *(word for word in words[place + 1 :] if word not in _HARMLESS)])


def field_line(block: Block, field: str) -> int:
    """The 1-based line in the script of a field of its block (``dependencies[2]``, ``tool.uv.sources.numpy``).

    For a field that isn't there, the line of the nearest one that would hold it, or of the block's opening line.
    """
    line = line_of(block.content.decode(), field)
    return block.line - 1 if line is None else block.line + line


def _load(block: Block) -> dict[str, Any]:
    text = block.content.decode().removeprefix("\ufeff")  # uv's reader allows a byte order mark here
    try:
        document = tomli.loads(text, parse_float=_finite)
        check_values(document, MAX_DEPTH)
    except tomli.TOMLDecodeError as error:
        raise _not_toml(block, text, error) from None
    except RecursionError:
        raise ScriptError(_INVALID + f"nested deeper than {MAX_DEPTH} levels", line=block.line - 1) from None
    except ValueError:  # from int() or _finite(), of which tomli doesn't say where they stand
        raise ScriptError(_INVALID + "a number is too large", line=block.line - 1) from None
    return document


def _not_toml(block: Block, text: str, error: tomli.TOMLDecodeError) -> ScriptError:
    lines = text.split("\n")
    place = error.lineno - 1  # the closing line's, for what is missing at the end
    if lines[place].startswith("///"):  # PEP 723: the last of several closing lines closes
        message = "the last `# ///` of the comment lines closes the block, not this one: put an empty line between"
    else:
        message = _INVALID + error.msg[:1].lower() + error.msg[1:]
    return ScriptError(message, line=block.line + place)


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")} and "inf" not in text:
        raise ValueError(text)
    return number


def check_values(value: object, depth: int) -> None:
    """Raises RecursionError on more levels than ``depth``, ValueError on a number that uv's reader can't hold."""
    if isinstance(value, int) and value not in _NUMBERS:
        raise ValueError(value)
    if isinstance(value, dict | list):
        if depth < 0:
            raise RecursionError
        for item in value.values() if isinstance(value, dict) else value:
            check_values(item, depth - 1)


def _wrong(block: Block, field: str, wanted: str, value: object) -> ScriptError:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a table"}
    kind = kinds.get(type(value), "a date or time")
    return ScriptError(f"{field} is {kind}; it must be {wanted}", line=field_line(block, field), field=field)


def _unknown(key: str, value: object) -> str:
    """What is to be said of a top-level key that neither PEP 723 nor uv knows: most times a slip of the pen."""
    import difflib  # noqa: PLC0415 - rarely needed

    fitting = [known for known, kind in KEYS.items() if isinstance(value, kind)]  # [dependency-groups] is no list of dependencies
    like = difflib.get_close_matches(key.lower().replace("_", "-"), fitting, 1)
    return f"unknown key `{key}`; {f'did you mean `{like[0]}`?' if like else 'it is ignored'}"


def _idle(uv: Mapping[str, Any], dependencies: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Options that mean something at each start of `uv run`, and nothing here: each with what is to be said of it."""
    if uv.get("upgrade"):
        yield "tool.uv.upgrade", f"`upgrade` {_HELD.format('--upgrade')}"
    if names := uv.get("upgrade-package"):
        yield "tool.uv.upgrade-package", f"`upgrade-package` {_HELD.format(_each('--upgrade-package', names))}"
    sources = uv.get("sources", {})
    if (uv.get("reinstall") or uv.get("reinstall-package")) and not _is_local(dependencies, sources if isinstance(sources, dict) else {}):
        name = "reinstall" if uv.get("reinstall") else "reinstall-package"
        yield f"tool.uv.{name}", f"`{name}` has no effect: no package of this script comes from a local folder"


def _each(option: str, names: object) -> str:
    return " ".join(f"{option} {name}" for name in names) if isinstance(names, list) else option


def _is_local(dependencies: Iterable[str], sources: Mapping[str, Any]) -> bool:
    """Whether some package comes from this machine, as far as the words tell."""
    entries = [entry for value in sources.values() for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict)]
    named = any("path" in entry or "workspace" in entry or str(entry.get("url", "")).startswith("file:") for entry in entries)
    return named or any("file:" in text or "@ /" in text for text in dependencies)
