"""uv's configuration files: the project's, which counts, and the user's and the site's, which don't.

The builder gives uv one uv.toml of our making, so that it looks for no other. What goes into it: the project's options,
and of the user's and the site's those that can't change what is installed (cache, proxies, certificates, keyring). And
where nothing else names a default index, theirs: behind a firewall a mirror is the only way to any package. It counts
in no key, and the manifest of what was built through it says so. Whatever else theirs say is left out, and named by who
builds: a pool is shared by people, and by nodes whose files may differ.
"""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

import tomli

from sharedenv.errors import SharedenvError
from sharedenv.key.readers import Base, is_url
from sharedenv.key.tool_uv import INERT, NOT_FOR_SCRIPTS, OptionError, normal_option
from sharedenv.script.metadata import MAX_DEPTH, check_values
from sharedenv.secret import keep_aside
from sharedenv.start.regular import read_regular
from sharedenv.start.uv_variables import is_on
from sharedenv.values import frozen

_CATALOGUE = "python-downloads-json-url"  #: a URL or a file
#: inert options that no script has
MIRRORS = frozenset(
    [
        *("graalpy-install-mirror", "pypy-install-mirror", "pyodide-install-mirror", _CATALOGUE),
        "python-install-mirror",
    ]
)
#: inert options that the builder itself decides
_OURS = frozenset(["compile-bytecode", "reinstall", "reinstall-package", "upgrade", "upgrade-package"])


@frozen
class Config:
    """Options of one configuration: those that count in normal form, those that don't as they stand."""

    counted: Mapping[str, Any] = field(default_factory=dict)
    inert: Mapping[str, Any] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)  # URL without credentials → with them
    notes: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()  # file and option, of those that would count elsewhere


def read_config(root: str, environ: Mapping[str, str]) -> Config:
    """The project's configuration, from the file uv would take: UV_CONFIG_FILE, uv.toml, pyproject.toml at the root.

    An option that this version does not know counts as it stands. Raises SharedenvError.
    """
    path, table, is_project = _table(root, environ)
    place = Base(os.path.dirname(path), root)
    counted: dict[str, Any] = {}
    for name, value in table.items():
        if name in INERT or name in NOT_FOR_SCRIPTS or name in MIRRORS:
            continue
        try:
            counted.update(normal_option(name, value, place))
        except OptionError as error:
            where = f"[tool.uv] {name}" if is_project else name
            first = error.option.partition(".")[0]
            raise _unreadable(path, f"{where}: {error.message}", ["grep", "-n", first, path]) from None
    return Config(counted, _inert(table, path), place.urls)


def read_user_config(environ: Mapping[str, str], *, mirror: bool) -> Config:
    """What is used of the user's and the site's configuration; ``mirror``: their default index, too.

    Raises SharedenvError for a file that can't be read, as uv does.
    """
    if is_on(environ.get("UV_NO_CONFIG", "")) or environ.get("UV_CONFIG_FILE"):
        return Config()
    inert: dict[str, Any] = {}
    default: dict[str, Any] = {}
    source = ""
    left_out: list[tuple[str, str]] = []
    for path in reversed(_user_files(environ)):
        table = _toml(path) or {}
        inert.update(_inert(table, path))
        if found := _default_index(table, path):
            default, source = found, path
        left_out += [(path, name) for name in table if _is_left_out(name, table[name])]
    if not (default and mirror):
        return Config(inert=inert, left_out=tuple(left_out))
    urls: dict[str, str] = {}
    note = {"user-config": {"file": source, "index": keep_aside(default["url"], urls)}}
    return Config(inert={**inert, "index": [default]}, urls=urls, notes=note, left_out=tuple(left_out))


def read_text(path: str) -> str | None:
    """The text of a file, or None when there is none. Raises SharedenvError."""
    try:
        return io.StringIO(read_regular(path, follow=True).decode(), newline=None).read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), ["ls", "-ld", path]) from None
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"not UTF-8 at byte {error.start}", ["env", "LC_ALL=C.UTF-8", "grep", "-naxv", ".*", path]) from None


def _unreadable(path: str, cause: str, command: Iterable[str]) -> SharedenvError:
    """``command``: what shows the place."""
    return SharedenvError(f"can't read {path}", cause=cause, hint=shlex.join(command))


def _table(root: str, environ: Mapping[str, str]) -> tuple[str, Mapping[str, Any], bool]:
    """The file, its options, and whether it is a pyproject.toml."""
    if chosen := environ.get("UV_CONFIG_FILE"):
        path = os.path.abspath(chosen)
        table = _toml(path)
        if table is None:
            cause = f"{path}: no such file"
            raise SharedenvError("can't read UV_CONFIG_FILE", cause=cause, hint="unset UV_CONFIG_FILE")
        return path, table, False
    if is_on(environ.get("UV_NO_CONFIG", "")):
        return os.path.join(root, "uv.toml"), {}, False
    path = os.path.join(root, "uv.toml")
    table = _toml(path)
    if table is not None:
        return path, table, False
    path = os.path.join(root, "pyproject.toml")
    tool = (_toml(path) or {}).get("tool", {})
    table = tool.get("uv", {}) if isinstance(tool, dict) else {}
    return path, table if isinstance(table, dict) else {}, True


def _inert(table: Mapping[str, Any], path: str) -> dict[str, Any]:
    inert = {name: value for name, value in table.items() if (name in INERT or name in MIRRORS) and name not in _OURS}
    if isinstance(inert.get("cache-dir"), str):
        inert["cache-dir"] = os.path.normpath(os.path.join(os.path.dirname(path), inert["cache-dir"]))
    if isinstance(catalogue := inert.get(_CATALOGUE), str) and not is_url(catalogue):
        inert[_CATALOGUE] = os.path.normpath(os.path.join(os.path.dirname(path), catalogue))
    return inert


def _is_left_out(name: str, value: Any) -> bool:
    if name == "index":  # the default one is used, unless another is named nearer by
        return any(not index.get("default") for index in value if isinstance(index, dict))
    return not (name == "index-url" or name in INERT or name in NOT_FOR_SCRIPTS or name in MIRRORS)


def _default_index(table: Mapping[str, Any], path: str) -> dict[str, Any]:
    indexes = table.get("index", [])
    if not isinstance(indexes, list):
        raise _unreadable(path, "index: not a list", ["grep", "-n", "index", path])
    found = next((dict(index) for index in indexes if isinstance(index, dict) and index.get("default")), {})
    if not found and isinstance(table.get("index-url"), str):
        found = {"url": table["index-url"], "default": True}
    if not isinstance(found.get("url"), str):
        return {}
    if not is_url(found["url"]):
        found["url"] = os.path.normpath(os.path.join(os.path.dirname(path), found["url"]))
    return found


def _user_files(environ: Mapping[str, str]) -> list[str]:
    """Where uv looks for the user's and the site's configuration, the strongest first."""
    home = environ.get("XDG_CONFIG_HOME") or (os.path.join(environ["HOME"], ".config") if environ.get("HOME") else "")
    files = [os.path.join(home, "uv", "uv.toml")] if home else []
    if is_on(environ.get("UV_NO_SYSTEM_CONFIG", "")):
        return files
    folders = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    system = [os.path.join(folder, "uv", "uv.toml") for folder in folders if folder]
    # the first that is there, as in uv
    return [*files, *[path for path in [*system, "/etc/uv/uv.toml"] if os.path.isfile(path)][:1]]


def _toml(path: str) -> dict[str, Any] | None:
    text, line = read_text(path), 1
    if text is None:
        return None
    try:
        document = tomli.loads(text)
        check_values(document, MAX_DEPTH)
    except tomli.TOMLDecodeError as error:
        cause, line = str(error), error.lineno
    except RecursionError:
        cause = f"nested deeper than {MAX_DEPTH} levels"
    except ValueError:  # from int(), of which tomli doesn't say where it stands
        cause = "a number is too large"
    else:
        return document
    raise _unreadable(path, cause, ["sed", "-n", f"{line}p", path])
