"""Where the packages of an environment are had from: asked of uv, when it was built and when it is built again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from sharedenv.build.interpreter import Fetches
from sharedenv.build.uv import Uv, UvFailed, compile_pylock, indexes
from sharedenv.key.uv_inputs import Inputs
from sharedenv.key.versions import File, Pin, Versions, pip_config, project_text, pylock_text, read_pylock
from sharedenv.pool.files import private
from sharedenv.secret import strip_url, with_credentials
from sharedenv.start.regular import read_regular
from sharedenv.start.uv_variables import is_on
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.pool.dist_info import Distribution

#: options and variables that lead to other places than the default index, beside the option `index`
_ELSEWHERE = ("extra-index-url", "find-links", "no-index", "torch-backend")
_ELSEWHERE_BY = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX", "UV_TORCH_BACKEND")
_DEFAULT_BY = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")  #: variables that name it


class Gone(UvFailed):
    """Packages (`alpha 1.0`) that no source has any more."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        super().__init__(f"{', '.join(packages)} can't be had any more", 1)
        self.packages = packages


class Altered(UvFailed):
    """Packages (`alpha 1.0`) whose sources have other bytes under the version that is locked."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        super().__init__(f"{', '.join(packages)}: the bytes have changed under the same version", 1)


@frozen
class PackageSource:
    """Where packages are had from: uv with the options of one build.

    folder   a folder of the build's own for what uv is given and writes
    root     the project's root: file URLs below it are kept relative to it
    """

    uv: Uv
    inputs: Inputs
    environ: Mapping[str, str]
    folder: str
    root: str
    python: str
    offline: bool
    log: IO[str]
    fetches: Fetches  # what the command knows already

    def strip(self, url: str) -> str:
        """A URL as it is kept: without credentials, and relative to the project's root where it is a file below it."""
        below = f"file://{quote(self.root)}/"
        return f"./{url.removeprefix(below)}" if url.startswith(below) else strip_url(url)

    def restore(self, url: str) -> str:
        """A URL as it is used."""
        return f"file://{quote(self.root)}{url[1:]}" if url.startswith("./") else with_credentials(url, self.inputs.urls)


def pin_installed(venv: str, python: str, since: str, source: PackageSource) -> Versions | None:
    """What was just installed, with the file of each package; None where one is used in its folder: that can't be held.

    ``python``: the minor version. Where uv can't name a file any more, the digest of the RECORD stands in its place.
    """
    from sharedenv.pool.dist_info import distributions, record_digest  # noqa: PLC0415 - loaded while uv was at work

    found = distributions(venv)
    if any(distribution.linked for distribution in found):
        return None
    known = locate([distribution.pin for distribution in found], source)
    pins = []
    for distribution in found:
        pin = replace(distribution.pin, url=source.strip(distribution.pin.url), folder=source.strip(distribution.pin.folder))
        index, files = known.get(pin.name, ("", ()))
        if files:
            pin = replace(pin, index=index, files=_used(files, distribution))
        elif not (pin.git or pin.folder or distribution.built):
            pin = replace(pin, record=record_digest(venv, pin.name))
        pins.append(pin)
    return Versions(python, since, tuple(pins))


def locate(pins: Sequence[Pin], source: PackageSource) -> dict[str, tuple[str, tuple[File, ...]]]:
    """Package → index and files, for those that uv can have. Git's need none."""
    return _locate([pin for pin in pins if not pin.is_known], source)


def _locate(pins: Sequence[Pin], source: PackageSource, *, fresh: bool = False) -> dict[str, tuple[str, tuple[File, ...]]]:
    if not pins:
        return {}
    try:
        return _compile(pins, source, fresh)
    except UvFailed as failure:
        if failure.status != 1 or len(pins) == 1:  # not for the sake of one package; or it is this one
            return {}
    middle = len(pins) // 2
    return _locate(pins[:middle], source, fresh=fresh) | _locate(pins[middle:], source, fresh=fresh)


def _compile(pins: Sequence[Pin], source: PackageSource, fresh: bool) -> dict[str, tuple[str, tuple[File, ...]]]:
    """Asks uv's cache first unless ``fresh``: it has just seen the same listings, and an index takes its time. Raises UvFailed."""
    project, output = (os.path.join(source.folder, name) for name in ("pyproject.toml", "pylock.toml"))
    write_text(project, project_text(pins, source.inputs.options, source.restore))
    if os.path.exists(output):
        os.unlink(output)  # uv prefers what stands there
    environ = pip_environment(source)
    offline = source.offline or is_on(environ.get("UV_OFFLINE", ""))
    flags = ["--refresh"] if fresh and not offline else ["--offline"]
    try:
        compile_pylock(source.uv, project, output, source.python, flags, environ, source.log)
    except UvFailed:
        if offline or fresh:
            raise
        flags = []
        compile_pylock(source.uv, project, output, source.python, flags, environ, source.log)
    try:
        known = read_pylock(read_regular(output).decode(), source.strip)
    except ValueError as error:
        raise UvFailed(f"uv's pylock.toml: {error}", 2) from None
    if all(file.url.startswith(("./", "file:")) for _, files in known.values() for file in files):
        return known
    named = _indexes(pins, source, environ, lambda: indexes(source.uv, project, source.python, flags, environ, source.log))
    return {name: (index or source.strip(named.get(name, "")), files) for name, (index, files) in known.items()}


def _indexes(pins: Sequence[Pin], source: PackageSource, environ: Mapping[str, str], ask: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Package → index. Where there is none but the default one, uv is asked for its address once a command."""
    given = (source.inputs.options, source.inputs.options_around)
    default = [index for options in given for index in options.get("index", [])]
    elsewhere = [*(options.get(name) for options in given for name in _ELSEWHERE), *map(environ.get, _ELSEWHERE_BY)]
    if any(elsewhere) or not all(index.get("default") for index in default):
        return ask()
    named = (str(default), *(options.get("index-url") for options in given), *map(environ.get, _DEFAULT_BY))
    found = source.fetches.find(("default index", *named), lambda: set(ask().values()))
    return {pin.name: address for pin in pins if not pin.url for address in found} if len(found) == 1 else ask()


def pip_environment(source: PackageSource) -> dict[str, str]:
    """The environment in which `uv pip` goes by the options of the build."""
    config = os.path.join(source.folder, "uv.toml")
    write_text(config, pip_config(source.inputs.options, source.inputs.options_around))
    return {**source.environ, "UV_CONFIG_FILE": config}


def with_files(held: Versions, source: PackageSource) -> Versions:
    """The same with the files of packages that were held without: their sources are asked anew. Raises Gone, Altered."""
    known = locate(held.pins, source)
    pins = [_located(pin, known) for pin in held.pins]
    if stale := [pin for pin in pins if not pin.is_known and known.get(pin.name, ("", ()))[1]]:  # other bytes, as a cache knows it
        known |= _locate(stale, source, fresh=True)
        pins = [_located(pin, known) for pin in pins]
    lost = [pin for pin in pins if not pin.is_known]
    if altered := [pin for pin in lost if known.get(pin.name, ("", ()))[1]]:
        raise Altered(tuple(f"{pin.name} {pin.version}" for pin in altered))
    if lost:
        raise Gone(tuple(f"{pin.name} {pin.version}" for pin in lost))
    return replace(held, pins=tuple(pins))


def _located(pin: Pin, known: Mapping[str, tuple[str, tuple[File, ...]]]) -> Pin:
    """A pin with its index and its files, where they are found: of those whose bytes are known, the same bytes alone."""
    if pin.is_known or pin.name not in known:
        return pin
    index, files = known[pin.name]
    if pin.files:
        admitted = {file.sha256 for file in pin.files}
        files = tuple(file for file in files if file.sha256 in admitted)
    return replace(pin, index=index, files=files or pin.files)


def elsewhere(held: Versions, source: PackageSource) -> Versions:
    """The same with files of the same bytes where their sources have them now: addresses change, and what a signed one is signed with."""
    now = _locate([pin for pin in held.pins if pin.files and not pin.url], source, fresh=True)
    pins = []
    for pin in held.pins:
        bytes_held = {file.sha256 for file in pin.files}
        index, files = now.get(pin.name, ("", ()))
        same = tuple(file for file in files if file.sha256 in bytes_held)
        pins.append(replace(pin, index=index, files=same) if same else pin)
    return replace(held, pins=tuple(pins))


def write_pylock(versions: Versions, source: PackageSource) -> str:
    """The pylock.toml of a set; its path."""
    path = os.path.join(source.folder, "pylock.toml")
    write_text(path, pylock_text(versions, source.restore))
    return path


def _used(files: Iterable[File], distribution: Distribution) -> tuple[File, ...]:
    """Of the files of a release, the one that was installed, where it can be told."""
    files = tuple(files)
    if distribution.built:
        return tuple(file for file in files if file.kind != "wheel") or files
    wheels = tuple(file for file in files if file.kind == "wheel" and _tags(file.url) == distribution.tags)
    return wheels if len(wheels) == 1 else files


def _tags(url: str) -> frozenset[str]:
    """The tags in the name of a wheel (PyPA's binary distribution format)."""
    name = url.partition("#")[0].rpartition("/")[2].removesuffix(".whl")
    return frozenset(map("-".join, product(*(part.split(".") for part in name.split("-")[-3:]))))


def write_text(path: str, text: str) -> None:
    """Writes a file that its user alone may read: it may hold credentials. Raises OSError."""
    with open(path, "w", encoding="utf-8", opener=private) as file:
        file.write(text)
