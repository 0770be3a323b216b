"""The versions that a key installs, held until somebody moves them: the value, its TOML, and what uv is given of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import tomli

from sharedenv.key.toml import toml_text, toml_value
from sharedenv.start.fingerprint import sha256
from sharedenv.values import frozen

SCHEMA = 1

#: options of a script that say where a given version is had from and how it is built: the rest has had its say when the versions
#: were chosen, or belongs in no uv.toml
_FOR_PIP = frozenset(
    [
        *("index", "index-url", "extra-index-url", "no-index", "find-links", "index-strategy", "keyring-provider"),
        *("allow-insecure-host", "native-tls", "system-certs", "offline", "link-mode", "preview", "required-version"),
        *("exclude-newer", "exclude-newer-package", "prerelease", "dependency-metadata", "build-constraint-dependencies"),
        *("no-build", "no-build-package", "no-binary", "no-binary-package", "no-build-isolation", "no-build-isolation-package"),
        *("config-settings", "config-settings-package", "extra-build-dependencies", "extra-build-variables"),
    ]
)


class VersionsError(ValueError):
    """Held versions that can't be read, in words for the user."""


class UnknownSchema(VersionsError):
    """They are whole, and written by a version of sharedenv that this one doesn't understand."""


@frozen
class File:
    """One file that a package can be installed from. ``kind``: wheel, sdist, or archive (what a requirement's URL names)."""

    kind: str  # "" where the bytes alone are known
    url: str  # without credentials
    sha256: str  # 64 hex digits


@frozen
class Git:
    """A commit that a package was built from. ``subdirectory``: "" for the repository's top."""

    url: str  # without credentials, without "git+"
    commit: str  # all 40 digits
    subdirectory: str = ""


@frozen
class Pin:
    """One package at one version, and where it is had from.

    index   the index that its files are of; "" where none is named
    files   what it was installed from: the one file, where it can be told; none where its source said nothing of it. Of
            sharedenv.lock: those that it may be installed from, by their bytes alone
    record  sha256 of what its RECORD says of its files; "" where ``files`` have hashes
    folder  file URL of the folder of this machine that it is built from: that alone is held of it, and not what is in there
    """

    name: str  # normal form of PEP 503
    version: str
    index: str = ""
    files: tuple[File, ...] = ()
    git: Git | None = None
    record: str = ""
    url: str = ""  # of a requirement that names one (PEP 508), without credentials
    folder: str = ""

    @property
    def requirement(self) -> str:
        """What asks for this and nothing else."""
        if self.git:
            tail = f"#subdirectory={self.git.subdirectory}" if self.git.subdirectory else ""
            return f"{self.name} @ git+{self.git.url}@{self.git.commit}{tail}"
        place = self.url or self.folder
        return f"{self.name} @ {place}" if place else f"{self.name}==={self.version}"

    @property
    def is_known(self) -> bool:
        """Whether it is known where it is had from: else its source is asked anew."""
        return bool(self.git or self.folder or (self.files and all(file.url for file in self.files)))


@frozen
class Versions:
    """What one key installs. ``python``: a minor version such as 3.11; ``since``: UTC, ISO 8601; pins by name."""

    python: str
    since: str
    pins: tuple[Pin, ...]

    @property
    def names(self) -> dict[str, str]:
        """Package → version."""
        return {pin.name: pin.version for pin in self.pins}

    @property
    def digest(self) -> str:
        """sha256 of what is installed, 64 hex digits: Python's minor version, names, versions, commits. Where it is had from may
        be learned later, and changes nothing of it.
        """
        lines = [self.python, *sorted(f"{pin.name} {pin.version} {pin.git.commit if pin.git else ''}" for pin in self.pins)]
        return sha256("\n".join(lines).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The set as TOML: the same bytes for the same set. Its digest is for who copies it and parses nothing (pool/sets)."""
        head = {"schema": SCHEMA, "python": self.python, "since": self.since, "digest": self.digest}
        return toml_text(head) + "".join(map(_table, self.pins))


def _table(pin: Pin) -> str:
    fields = {"name": pin.name, "version": pin.version, "url": pin.url, "index": pin.index, "record": pin.record, "folder": pin.folder}
    lines = [f"{name} = {toml_value(value)}" for name, value in fields.items() if value]
    if pin.git:
        lines.append("git = " + _inline(url=pin.git.url, commit=pin.git.commit, subdirectory=pin.git.subdirectory))
    if pin.files:
        files = (_inline(kind=file.kind, url=file.url, sha256=file.sha256) for file in pin.files)
        lines += ["files = [", *(f"    {file}," for file in files), "]"]
    return "\n" + "\n".join(["[[packages]]", *lines]) + "\n"


def _inline(**fields: str) -> str:
    return "{ " + ", ".join(f"{name} = {toml_value(value)}" for name, value in fields.items() if value) + " }"


def parse_versions(text: str) -> Versions:
    """Held versions from their TOML. Raises VersionsError."""
    try:
        value = tomli.loads(text)
        if value["schema"] != SCHEMA:
            raise UnknownSchema(f"they were written by another version of sharedenv (schema {value['schema']})")
        pins = tuple(_pin(table) for table in value.get("packages", ()))
        return Versions(str(value["python"]), str(value["since"]), pins)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, VersionsError):
            raise
        raise VersionsError("they are damaged") from None


def _pin(table: Mapping[str, Any]) -> Pin:
    rest = {name: value for name, value in table.items() if name not in ("files", "git")}
    return Pin(**rest, files=tuple(File(**file) for file in table.get("files", ())), git=Git(**table["git"]) if "git" in table else None)


def moved(old: Versions, new: Versions) -> tuple[str, ...]:
    """What differs between two sets, a line each: ``numpy 2.4.6 → 2.5.0``, ``+ new 1.0``, ``- gone 1.0``, ``six 1.16: other bytes``."""
    before, after = ({pin.name: pin for pin in versions.pins} for versions in (old, new))
    lines = [f"Python {old.python} → {new.python}"] if old.python != new.python else []
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was is None and now is not None:
            lines.append(f"+ {name} {now.version}")
        elif now is None and was is not None:
            lines.append(f"- {name} {was.version}")
        elif was is not None and now is not None and (was.version, was.git) != (now.version, now.git):
            lines.append(f"{name} {_said(was, now)} → {_said(now, was)}")
        elif was is not None and now is not None and _other_bytes(was, now):
            lines.append(f"{name} {now.version}: other bytes under the same version")
    return tuple(lines)


def _other_bytes(one: Pin, other: Pin) -> bool:
    """Whether the same kind of file has other bytes: a wheel and an sdist of one version are no news."""
    return any(was.kind == now.kind and was.url == now.url and was.sha256 != now.sha256 for was in one.files for now in other.files)


def _said(pin: Pin, other: Pin) -> str:
    return f"{pin.version} ({pin.git.commit[:12]})" if pin.git and pin.version == other.version else pin.version


def differences(held: Versions, installed: Mapping[str, str]) -> tuple[str, ...]:
    """What is installed (package → version) and is not what is held, a line each: ``alpha 1.1 in place of 1.0``."""
    found = []
    folders = {pin.name for pin in held.pins if pin.folder}  # of which the version is not held
    for name in sorted(held.names.keys() | installed.keys()):
        wanted, got = held.names.get(name), installed.get(name)
        if name in folders and got:
            continue
        if wanted and got and wanted != got:
            found.append(f"{name} {got} in place of {wanted}")
        elif wanted != got:
            found.append(f"{name} {wanted} is missing" if wanted else f"{name} {got}, which is not held")
    return tuple(found)


#: options of a uv.toml that are heeded by `uv pip` alone
_PIP_ALONE = ("pip", "constraint-dependencies", "override-dependencies", "exclude-dependencies")


def pip_config(options: Mapping[str, Any], config: Mapping[str, Any], *, choosing: bool = False) -> str:
    """The uv.toml under which `uv pip` does what `uv sync --script` does with these options of the script's and that uv.toml.

    ``choosing``: versions are yet to be chosen, and what says how counts too.
    """
    merged = {name: value for name, value in config.items() if name not in _PIP_ALONE}
    for name, value in options.items():
        if name in _FOR_PIP or (choosing and name != "sources"):
            below = merged.get(name)
            merged[name] = [*value, *below] if isinstance(value, list) and isinstance(below, list) else value
    return toml_text(merged)


def project_text(pins: Iterable[Pin], options: Mapping[str, Any], restore: Callable[[str], str]) -> str:
    """A pyproject.toml that asks for these packages and nothing else, each from the index that its source names.

    ``uv pip compile`` heeds sources there alone. ``restore`` puts credentials back into a URL.
    """
    pins = tuple(pins)
    wanted = [pin.requirement.replace(pin.url, restore(pin.url)) if pin.url else pin.requirement for pin in pins]
    lines = ["[project]", 'name = "sharedenv-held"', 'version = "0"', f"dependencies = {toml_value(wanted)}", ""]
    names = {pin.name for pin in pins if not pin.url}
    chosen = {
        name: [source for source in sources if "index" in source]
        for name, sources in options.get("sources", {}).items()
        if name in names
    }
    sources = {name: found for name, found in chosen.items() if found}
    if sources:
        lines += ["[tool.uv]", f"index = {toml_value(options.get('index', []))}", "[tool.uv.sources]", toml_text(sources)]
    return "\n".join(lines)


def script_text(dependencies: Iterable[str], options: Mapping[str, Any]) -> str:
    """A pyproject.toml that asks for what a script asks for, each from where its sources say."""
    lines = ["[project]", 'name = "sharedenv-lock"', 'version = "0"', f"dependencies = {toml_value(list(dependencies))}", "[tool.uv]"]
    lines += [f"{name} = {toml_value(options[name])}" for name in ("index", "sources") if options.get(name)]
    return "\n".join(lines) + "\n"


def pylock_text(versions: Versions, restore: Callable[[str], str], requires: str = "") -> str:
    """The set as a pylock.toml (PEP 751) for ``uv pip sync``. ``restore`` puts credentials back into a URL; ``requires``: its
    requires-python.
    """
    lines = ['lock-version = "1.0"', *([f"requires-python = {toml_value(requires)}"] if requires else []), 'created-by = "sharedenv"']
    for pin in versions.pins:
        table: dict[str, Any] = {"name": pin.name, "version": pin.version}
        if pin.index:
            table["index"] = restore(pin.index)
        files = {
            kind: [{"url": restore(file.url), "hashes": {"sha256": file.sha256}} for file in pin.files if file.kind == kind]
            for kind in ("wheel", "sdist", "archive")
        }
        if files["wheel"]:
            table["wheels"] = files["wheel"]
        table |= {kind: files[kind][0] for kind in ("sdist", "archive") if files[kind]}
        if pin.folder:
            table["directory"] = {"path": unquote(restore(pin.folder).removeprefix("file://"))}
        if pin.git:
            table["vcs"] = {"type": "git", "url": restore(pin.git.url), "commit-id": pin.git.commit}
            if pin.git.subdirectory:
                table["vcs"]["subdirectory"] = pin.git.subdirectory
        lines += ["", "[[packages]]", *(f"{name} = {toml_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def read_pylock(text: str, strip: Callable[[str], str]) -> dict[str, tuple[str, tuple[File, ...]]]:
    """Package → its index ("" for none) and its files, from a pylock.toml of uv's. ``strip`` takes credentials out of a URL.

    Files without a URL or a sha256 are left out. Raises ValueError for what is no pylock.
    """
    try:
        packages = tomli.loads(text).get("packages", [])
        return {package["name"]: (strip(package.get("index", "")), tuple(_files(package, strip))) for package in packages}
    except (TypeError, KeyError, AttributeError):
        raise ValueError("not a pylock.toml that can be understood") from None


def pins_of_pylock(text: str, strip: Callable[[str], str]) -> tuple[Pin, ...]:
    """All packages of a pylock.toml of uv's, with what they can be installed from. Raises ValueError for what is no pylock, and
    VersionsError for a package from a folder of this machine.
    """
    try:
        return tuple(_pylock_pin(package, strip) for package in tomli.loads(text).get("packages", []))
    except (TypeError, KeyError, AttributeError):
        raise ValueError("not a pylock.toml that can be understood") from None


def _pylock_pin(package: Mapping[str, Any], strip: Callable[[str], str]) -> Pin:
    name, version = package["name"], package.get("version", "")
    if "directory" in package:
        raise VersionsError(f"{name} comes from a folder of this machine")
    git, url = None, ""
    if vcs := package.get("vcs"):
        git = Git(strip(vcs["url"]), vcs["commit-id"], vcs.get("subdirectory", ""))
    if archive := package.get("archive"):
        subdirectory = archive.get("subdirectory", "")
        url = strip(archive["url"]) + (f"#subdirectory={subdirectory}" if subdirectory else "")
    return Pin(name, version, strip(package.get("index", "")), tuple(_files(package, strip)), git, url=url)


def _files(package: Mapping[str, Any], strip: Callable[[str], str]) -> Iterable[File]:
    given = [("wheel", wheel) for wheel in package.get("wheels", [])]
    given += [(kind, package[kind]) for kind in ("sdist", "archive") if kind in package]
    for kind, file in given:
        if (url := file.get("url")) and (digest := file.get("hashes", {}).get("sha256")):
            yield File(kind, strip(url), digest)
