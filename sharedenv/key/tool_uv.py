"""The table [tool.uv] of a script → its normal form: what can change what is installed, paths and lists canonical.

Pure. The tables below hold the options that uv 0.13.9 takes in a script, with their types. Any other counts as it stands:
whether the uv that builds knows it is that uv's to say. An option that says what uv does anyway (``no-build = false``,
``resolution = "highest"``) still overrules the project's, so it counts unless it is a list or table of nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from sharedenv.key import readers
from sharedenv.key.readers import Base, Reader, WrongType
from sharedenv.key.requirement import RequirementError, normal_name, parse_requirement, source_fault
from sharedenv.secret import keep_aside

#: options of a project that uv does not apply to its scripts: they are about the project itself
NOT_FOR_SCRIPTS = frozenset(
    [
        *("add-bounds", "audit", "build-backend", "build-constraint-dependencies", "cache-keys", "check-url"),
        *("conflicts", "constraint-dependencies", "default-groups", "dependency-groups", "dev-dependencies"),
        *("environments", "exclude-dependencies", "managed", "minimum-libc-version", "override-dependencies"),
        *("package", "pip", "publish-url", "required-environments", "sources", "trusted-publishing", "workspace"),
    ]
)


class OptionError(ValueError):
    """An option that can't be read; ``option`` is its dotted name below tool.uv."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.message = message
        self.option = option


def normal_options(options: Mapping[str, Any], place: Base) -> dict[str, Any]:
    """The options of a script that count, in normal form, without credentials. Raises OptionError."""
    normal: dict[str, Any] = {}
    for name, value in options.items():
        if name in NOT_FOR_SCRIPTS and name not in COUNTED:
            raise OptionError("uv has no such option of a script, only of a project", name)
        normal.update(normal_option(name, value, place))
    return normal


def normal_option(name: str, value: Any, place: Base) -> dict[str, Any]:
    """One option in normal form, as ``{name: value}``, or ``{}`` when it says nothing. Raises OptionError.

    One that is not known here counts as it stands: a later uv may resolve by it.
    """
    try:
        found = (INERT.get(name) or COUNTED.get(name) or readers.plain)(value, place)
    except (RequirementError, WrongType) as error:
        raise OptionError(str(error), name) from None
    return {} if name in INERT or found in ([], {}) else {name: found}


#: a date, a time, or how long ago; uv takes no months and no years
_DATE = readers.like(
    r"\d{4}-\d\d-\d\d([Tt ].*)?|(?i:-?P(?![^T]*[YM]).*\d.*|(?!-?P|.*\d\s*(y|mo))(?=.*\d)(?=.*[a-z]).*)",
    "a date like 2024-01-01, a time like 2024-01-01T00:00:00Z or a duration like 3 days",
)
_INDEX_NAME = readers.like(r"[A-Za-z0-9._-]*", "a name of an index: letters, digits and -_.")


def _newest(value: Any, place: Base) -> Any:
    # what uv writes into lock files is a table
    return readers.plain(value, place) if value is False or isinstance(value, dict) else _DATE(value, place)


def _index_strategy(value: Any, place: Base) -> str:
    words = ("first-index", "unsafe-first-match", "unsafe-best-match", "unsafe-any-match")
    return str(readers.one_of(*words)(value, place)).replace("any", "first")


def _free_text(value: Any, place: Base) -> str:
    return str(readers.plain(readers.text(value, place), place))


def _text_or_texts(value: Any, place: Base) -> Any:
    return readers.list_of(_free_text)(value, place) if isinstance(value, list) else _free_text(value, place)


def _flag_or_texts(value: Any, place: Base) -> Any:
    return readers.flag(value, place) if isinstance(value, bool) else readers.list_of(readers.text)(value, place)


def _http_status(value: Any, place: Base) -> int:
    if readers.count(value, place) >= 2**16:
        raise WrongType("not a status of HTTP")
    return int(value)


def _cache_control(value: Any, place: Base) -> dict[str, Any]:
    known: dict[str, Reader] = dict.fromkeys(("api", "files", "headers"), readers.text)
    return {name: known.get(name, readers.plain)(item, place) for name, item in readers.table(value).items()}


def _required_version(value: Any, place: Base) -> str:
    bare = readers.text(value, place)[:1].isdigit()
    readers.specifiers(f"=={value}" if bare else value, place)
    return str(value)


#: fields of an index that say what uv does anyway, or nothing about what is found there
_INDEX_DEFAULTS = (("format", "simple"), ("authenticate", "auto"), ("default", False), ("explicit", False))
_INDEX_INERT = ("cache-control", "publish-url")
_INDEX_FIELDS: Mapping[str, Reader] = {
    "authenticate": readers.one_of("auto", "always", "never"),
    "cache-control": _cache_control,
    "default": readers.flag,
    "explicit": readers.flag,
    "format": readers.one_of("simple", "flat"),
    "ignore-error-codes": readers.list_of(_http_status),
    "name": _INDEX_NAME,
    "publish-url": readers.like(r"(?s)[A-Za-z][A-Za-z0-9+.-]*:.+", "a URL"),
    "url": readers.location,
}


def _index(value: Any, place: Base) -> dict[str, Any]:
    index = {name: _INDEX_FIELDS.get(name, readers.plain)(item, place) for name, item in readers.table(value).items()}
    if "url" not in index:
        raise WrongType("an index without a url")
    if index.get("explicit") and "name" not in index:
        raise WrongType("an index that is explicit wants a name")
    return {name: item for name, item in index.items() if name not in _INDEX_INERT and (name, item) not in _INDEX_DEFAULTS}


_SOURCE_KINDS = ("git", "url", "path", "index", "workspace")
#: fields that only some kinds of a source have
_SOURCE_KIND_OF = {"branch": ("git",), "rev": ("git",), "tag": ("git",), "editable": ("path", "workspace"), "package": ("path",)}


def _git(value: Any, place: Base) -> str:
    url = readers.text(value, place).removeprefix("git+")
    if not re.match(r"(https?|ssh|file)://", url):
        raise WrongType(f"{url!r} is not a URL that git goes by: https, http, ssh, file")
    if fault := source_fault(f"git+{url}"):
        raise WrongType(f"{url!r}: {fault}")
    return keep_aside(url, place.urls)


def _file_url(value: Any, place: Base) -> str:
    url = readers.text(value, place)
    if url.startswith("git+"):
        raise WrongType("a repository goes by `git = …`")
    if fault := source_fault(url) if readers.is_url(url) else "not a URL":
        raise WrongType(f"{url!r}: {fault}")
    return keep_aside(url, place.urls)


def _marker(value: Any, place: Base) -> str:
    return parse_requirement(f"x ; {readers.text(value, place)}").marker


def _path(value: Any, place: Base) -> str:
    return place.canonical(readers.text(value, place))


_SOURCE_FIELDS: Mapping[str, Reader] = {
    "branch": readers.text,
    "editable": readers.flag,
    "extra": readers.name,
    "git": _git,
    "group": readers.name,
    "index": _INDEX_NAME,
    "lfs": readers.flag,
    "marker": _marker,
    "package": readers.flag,
    "path": _path,
    "rev": readers.text,
    "subdirectory": readers.text,
    "tag": readers.text,
    "url": _file_url,
    "workspace": lambda value, place: _path(value, place) if isinstance(value, str) else readers.flag(value, place),
}


_FILE_OF_REPOSITORY = readers.like(r".*\.(whl|zip|tar|t[blg]z|txz|tar\.(bz2|gz|lz|lzma|xz|zst))", "a wheel or an archive")


def _source(source: Any, place: Base) -> dict[str, Any]:
    kinds = [kind for kind in _SOURCE_KINDS if kind in readers.table(source)]
    if not kinds:
        raise WrongType(f"a source is one of {', '.join(_SOURCE_KINDS)}")
    fields = dict(_SOURCE_FIELDS)
    if kinds == ["git", "path"]:  # a wheel in the repository
        kinds, fields["path"] = ["git"], _FILE_OF_REPOSITORY
    if len(kinds) > 1:
        raise WrongType(f"both {kinds[0]} and {kinds[1]}")
    if misplaced := [name for name, only in _SOURCE_KIND_OF.items() if name in source and kinds[0] not in only]:
        raise WrongType(f"both {kinds[0]} and {misplaced[0]}")
    if sum(name in source for name in ("branch", "rev", "tag")) > 1:
        raise WrongType("more than one of branch, rev, tag")
    if "extra" in source and "group" in source:
        raise WrongType("both extra and group")
    normal: dict[str, Any] = readers.record(fields, ())(source, place)
    if normal.get("editable") and normal.get("package") is False:
        raise WrongType("both editable and package = false")
    return normal


def _package_sources(value: Any, place: Base) -> list[dict[str, Any]]:
    sources = [_source(item, place) for item in (value if isinstance(value, list) else [value])]
    if not sources:
        raise WrongType("no source at all")
    for one, other in pairwise(sources):
        apart = any(one.get(name) != other.get(name) for name in ("extra", "group"))
        # whether two markers that differ exclude each other is uv's to say
        if not apart and (not one.get("marker") or not other.get("marker") or one["marker"] == other["marker"]):
            raise WrongType("of several sources each wants a marker of its own")
    return sources


def _sources(value: Any, place: Base) -> dict[str, Any]:
    normal = {}
    for package, item in readers.table(value).items():
        try:
            normal[normal_name(package)] = _package_sources(item, place)
        except WrongType as error:
            raise WrongType(f"{package}: {error}") from None
    return normal


#: of an override and an exclusion: the package that they are about
_PACKAGE = readers.record({"name": readers.name, "version": readers.version}, ("name",))
_SETTINGS = readers.by_name(_text_or_texts)
_METADATA = readers.record(
    {
        "name": readers.name,
        "version": readers.version,
        "requires-dist": readers.requirements,
        "requires-python": readers.specifiers,
        "provides-extra": readers.names,
        "provides-extras": readers.names,
    },
    ("name",),
)
_PRERELEASE = readers.one_of("disallow", "allow", "if-necessary", "explicit", "if-necessary-or-explicit")
_BUILD_DEPENDENCY = readers.record(
    {"requirement": readers.requirement, "match-runtime": readers.flag}, ("requirement", "match-runtime")
)

#: options that can't change what is installed: how fast, through what, with which messages
INERT: Mapping[str, Reader] = {
    "allow-insecure-host": readers.list_of(readers.text),
    "cache-dir": readers.text,
    "compile-bytecode": readers.flag,
    "concurrent-builds": readers.count,
    "concurrent-downloads": readers.count,
    "concurrent-installs": readers.count,
    "http-proxy": readers.like(r"\S+", "a URL"),
    "https-proxy": readers.like(r"\S+", "a URL"),
    "keyring-provider": readers.one_of("disabled", "subprocess"),
    "link-mode": readers.one_of("clone", "reflink", "copy", "hardlink", "symlink"),
    "native-tls": readers.flag,
    "no-cache": readers.flag,
    "no-proxy": readers.list_of(readers.text),
    "offline": readers.flag,
    "preview": readers.flag,
    "preview-features": _flag_or_texts,
    "python-downloads": readers.one_of("auto", "automatic", "manual", "never"),
    "reinstall": readers.flag,
    "reinstall-package": readers.names,
    "system-certs": readers.flag,
    "upgrade": readers.flag,
    "upgrade-package": readers.requirements,
}

#: every option that counts → its normal form
COUNTED: Mapping[str, Reader] = {
    "build-constraint-dependencies": readers.requirements,
    "config-settings": _SETTINGS,
    "config-settings-package": readers.by_package(_SETTINGS),
    "constraint-dependencies": readers.requirements,
    "dependency-metadata": readers.list_of(_METADATA),
    "exclude-dependencies": readers.texts_or_tables(
        readers.names, readers.record({"package": _PACKAGE, "dependencies": readers.names}, ("package", "dependencies"))
    ),
    "exclude-newer": _newest,
    "exclude-newer-package": readers.by_package(_newest),
    "extra-build-dependencies": readers.by_package(readers.texts_or_tables(readers.requirements, _BUILD_DEPENDENCY)),
    "extra-build-variables": readers.by_package(readers.by_name(_free_text)),
    "extra-index-url": readers.list_of(readers.location),
    "find-links": readers.list_of(readers.location),
    "fork-strategy": readers.one_of("fewest", "requires-python"),
    "index": readers.list_of(_index),
    "index-strategy": _index_strategy,
    "index-url": readers.location,
    "no-binary": readers.flag,
    "no-binary-package": readers.names,
    "no-build": readers.flag,
    "no-build-isolation": readers.flag,
    "no-build-isolation-package": readers.names,
    "no-build-package": readers.names,
    "no-index": readers.flag,
    "no-sources": readers.flag,
    "no-sources-package": readers.names,
    "override-dependencies": readers.texts_or_tables(
        readers.requirements,
        readers.record({"package": _PACKAGE, "dependencies": readers.requirements}, ("package", "dependencies")),
    ),
    "prerelease": _PRERELEASE,
    "prerelease-package": readers.by_package(_PRERELEASE),
    "python-preference": readers.one_of("only-managed", "managed", "system", "only-system"),
    "require-build-hashes": readers.flag,
    "required-version": _required_version,
    "resolution": readers.one_of("highest", "lowest", "lowest-direct"),
    "sources": _sources,
    "torch-backend": readers.like(r"auto|cpu|xpu|cu\d+|rocm\d+(\.\d+)*", "a backend of torch: auto, cpu, cu128, rocm6.3 …"),
}

#: the names of all options that are known here
OPTIONS = frozenset([*INERT, *COUNTED])
