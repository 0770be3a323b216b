"""What to tell of a trouble that uv met, and the command or the variable that ends it."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from sharedenv.build.interpreter import JOB
from sharedenv.build.uv import Uv, cache_folder
from sharedenv.build.uv_words import Kind, Trouble
from sharedenv.key.plan import Need
from sharedenv.pool.layout import Layout
from sharedenv.start.uv_variables import is_on
from sharedenv.values import frozen

_CERTS = (0, 11)  # the first uv that knows UV_SYSTEM_CERTS


@frozen
class Scene:
    """Where a build has failed, or a lock. ``first``: its first script, as it is shown; ``log``: what uv said, None where that is not
    kept; ``environ``: the command's; ``need``: what was to be built, None where nothing was (then the trouble is an OUTSIDE one).
    """

    need: Need | None
    first: str
    log: str | None
    layout: Layout
    uv: Uv
    environ: Mapping[str, str]
    offline: bool  # --offline was given
    command: str = "build"


def remedy(found: Trouble, scene: Scene) -> tuple[str, str]:
    """Cause and hint of a trouble: the first line of the cause says it all, the hint is the command to run next."""
    cause, hint = _TOLD[found.kind](found, scene)
    return f"{cause}\n(all that uv said: {scene.log})" if scene.log else cause, hint


def _network(found: Trouble, scene: Scene) -> tuple[str, str]:
    if _proxy_variable(found.subject, scene.environ) is not None:
        return _proxy(found, scene)
    cause = f"no connection to {_named(found.subject, scene.environ)}: {found.why}"
    job = next((name for name in JOB if scene.environ.get(name)), None)
    if job:
        there = f"sharedenv {scene.command} {shlex.quote(scene.first)}  # on a login node, where there is a network"
        return f"{cause}, in a job ({job} is set)", there
    document = scene.need.payload.document if scene.need else {}
    if {"find-links", "UV_FIND_LINKS"} & {*document.get("settings", ()), *document.get("tool.uv", ())}:
        return cause, f"sharedenv {scene.command} --offline {shlex.quote(scene.first)}  # asks no index: the wheels of find-links alone"
    return cause, f"export {_scheme(found.subject)}_PROXY=http://HOST:PORT  # or build where there is a network, such as a login node"


def _proxy(found: Trouble, scene: Scene) -> tuple[str, str]:
    variable = _proxy_variable(found.subject, scene.environ) or f"{_scheme(found.subject)}_PROXY"
    value = scene.environ.get(variable, "")
    proxy = _host(value if "://" in value else f"http://{value}") if value else ""
    through = f"the proxy {proxy} (from {variable})" if proxy else "a proxy"
    if found.why[:3] == "407":
        return f"{through} wants a name and a password: {found.why}", f"export {variable}=http://USER:PASSWORD@{proxy or 'HOST:PORT'}"
    cause = f"no connection to {_host(found.subject)} through {through}: {found.why}"
    return cause, f"unset {variable}  # or name the one that is there: export {variable}=http://HOST:PORT"


def _slow(found: Trouble, scene: Scene) -> tuple[str, str]:
    seconds = scene.environ.get("UV_HTTP_TIMEOUT") or "30"
    longer = 10 * int(seconds) if seconds.isdigit() else 300
    return f"no answer from {_named(found.subject, scene.environ)} within {seconds} s", f"export UV_HTTP_TIMEOUT={longer}"


def _server(found: Trouble, scene: Scene) -> tuple[str, str]:
    host = _named(found.subject, scene.environ)
    return f"{host} answers {found.why}", f"curl -sSI {shlex.quote(found.subject)}  # build again once it answers 200"


def _certificate(found: Trouble, scene: Scene) -> tuple[str, str]:
    new = tuple(map(int, re.findall(r"\d+", scene.uv.version)[:2])) >= _CERTS
    cause = f"the certificate of {_named(found.subject, scene.environ)} is not one that uv trusts: {found.why}"
    return cause, f"export {'UV_SYSTEM_CERTS' if new else 'UV_NATIVE_TLS'}=1  # trusts what this system does; SSL_CERT_FILE names others"


def _credentials(found: Trouble, scene: Scene) -> tuple[str, str]:
    host = urlsplit(found.subject).hostname or ""
    cause = f"the index {_named(found.subject, scene.environ)} wants a name and a password, or other ones: {found.why}"
    return cause, f"uv auth login {shlex.quote(host)}  # or a line for it in ~/.netrc"


def _full(found: Trouble, scene: Scene) -> tuple[str, str]:
    path = found.subject
    pool = scene.layout.path
    cache = cache_folder(scene.uv, scene.environ) or ""
    if cache and path.startswith(cache):
        beside = os.path.join(os.path.dirname(pool), ".uv-cache")
        hint = f"export UV_CACHE_DIR={shlex.quote(beside)}" if _device(pool) != _device(cache) else f"df -h -i {shlex.quote(cache)}"
        return f"no room in uv's cache {cache}: {found.why}", hint
    if path.startswith(pool):
        hint = "sharedenv prune --dry-run" if "quota" in found.why else f"df -h -i {shlex.quote(pool)}"
        return f"no room in the pool {pool}: {found.why}", hint
    folder = tempfile.gettempdir()
    if not path or path.startswith(folder):
        return f"no room in {folder}, which TMPDIR names: {found.why}", "export TMPDIR=DIR  # a folder on a disk that has room"
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return f"no room in {path}: {found.why}", f"df -h -i {shlex.quote(path)}"


def _offline(found: Trouble, scene: Scene) -> tuple[str, str]:
    what = f"{found.subject} is not in uv's cache" if found.subject else "uv's cache has not all that is asked for"
    if scene.offline:
        return f"{what}, and --offline keeps uv from asking an index", f"sharedenv {scene.command} {shlex.quote(scene.first)}"
    if is_on(scene.environ.get("UV_OFFLINE", "")):
        return f"{what}, and UV_OFFLINE keeps uv from asking an index", "unset UV_OFFLINE  # where there is a network"
    return f"{what}, and `offline` in a uv.toml keeps uv from asking an index", "export UV_OFFLINE=0  # where there is a network"


def _unknown(found: Trouble, scene: Scene) -> tuple[str, str]:
    name = found.subject
    if name in _asked(scene.need):
        return f"no index has a package of the name {name}", _lines_with([name], scene.first)
    return f"no index has a package of the name {name}\n{found.why}", _log(scene)


def _python(found: Trouble, scene: Scene) -> tuple[str, str]:
    wanted = shlex.quote(found.subject)
    asked = scene.need and scene.need.payload.document["python"]
    good = found.subject if found.subject[0] in "<>=~!" else f"=={found.subject}.*"
    cause = f"{found.why}\n(for good: requires-python = \"{good}\" in the script)"
    if asked:
        return cause, f"sharedenv {scene.command} --python {wanted} {shlex.quote(scene.first)}"
    return cause, f"export SHAREDENV_PYTHON={wanted}"


def _prerelease(found: Trouble, scene: Scene) -> tuple[str, str]:  # noqa: ARG001 - as the others
    return found.why, "export UV_PRERELEASE=allow"


def _unsolved(found: Trouble, scene: Scene) -> tuple[str, str]:
    named = [name for name in _asked(scene.need) if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", found.why)]
    if until := scene.environ.get("UV_EXCLUDE_NEWER"):
        return f"{found.why}\n(UV_EXCLUDE_NEWER is set: nothing newer than {until} is looked at)", "unset UV_EXCLUDE_NEWER"
    return found.why, _lines_with(named, scene.first) if named else _log(scene)


_TOLD: dict[Kind, Callable[[Trouble, Scene], tuple[str, str]]] = {
    Kind.NETWORK: _network,
    Kind.SLOW: _slow,
    Kind.PROXY: _proxy,
    Kind.SERVER: _server,
    Kind.CERTIFICATE: _certificate,
    Kind.CREDENTIALS: _credentials,
    Kind.FULL: _full,
    Kind.OFFLINE: _offline,
    Kind.UNKNOWN: _unknown,
    Kind.PYTHON: _python,
    Kind.PRERELEASE: _prerelease,
    Kind.UNSOLVED: _unsolved,
}


def _log(scene: Scene) -> str:
    return shlex.join(["cat", scene.log] if scene.log else ["sharedenv", "key", "--explain", scene.first])


def _asked(need: Need | None) -> list[str]:
    """Names of the packages that the script itself asks for, in normal form."""
    dependencies = need.payload.document["dependencies"] if need else ()
    found = (re.match(r"[a-z0-9-]+", dependency) for dependency in dependencies)
    return list(dict.fromkeys(name[0] for name in found if name))


def _lines_with(names: list[str], script: str) -> str:
    """The command that shows where a script names some packages, however it spells them."""
    patterns = [word for name in names for word in ("-e", name.replace("-", "[-_.]"))]
    return shlex.join(["grep", "-in", *patterns, script])


def _host(url: str) -> str:
    """The host of a URL, with its port; credentials stay out."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _named(url: str, environ: Mapping[str, str]) -> str:
    """The host of a URL, and the variable that names it, if one does."""
    host = _host(url)
    variable = next((name for name, value in sorted(environ.items()) if name.startswith("UV_") and f"{host}/" in f"{value}/"), None)
    return f"{host} (from {variable})" if variable else host


def _scheme(url: str) -> str:
    return "HTTP" if url.startswith("http://") else "HTTPS"


def _proxy_variable(url: str, environ: Mapping[str, str]) -> str | None:
    """The variable that names the proxy for a URL, as uv reads them; None where uv asks its host itself."""
    host = urlsplit(url).hostname or ""
    spared = [word.strip().lstrip(".") for word in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")]
    if any(word and (word in ("*", host) or host.endswith(f".{word}")) for word in spared):
        return None
    names = [f"{_scheme(url)}_PROXY", "ALL_PROXY"]
    return next((one for name in names for one in (name.lower(), name) if environ.get(one)), None)


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None
