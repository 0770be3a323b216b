"""Why a build fails is told apart by uv's words, and answered with the command or the variable that ends it."""

from __future__ import annotations

import http.server
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sharedenv.build.follow import following
from sharedenv.build.remedy import remedy
from sharedenv.build.uv_words import Kind, Phases, Trouble, trouble
from tests.conftest import Project
from tests.faults import mounted, require, wait_for
from tests.wheels import make_wheel

REFUSED = "http://127.0.0.1:9/simple"
NEW = "error: Request failed after 3 retries in 5.2s\n  cause: Failed to fetch: {0}/x/\n  cause: error sending request for url ({0}/x/)\n"
OLD = "error: Failed to fetch: `{0}/x/`\n  Caused by: error sending request for url ({0}/x/)\n"
CONNECT = "  cause: client error (Connect)\n  cause: "
NONE = "error: No solution found when resolving dependencies\n  cause: "
NEAR = "  # or build where there is a network, such as a login node"
FRAME = "  × No solution found when resolving dependencies:\n  ╰─▶ "


@pytest.mark.parametrize(
    ("words", "kind", "subject", "why"),
    [
        (NEW + CONNECT + "tcp connect error\n  cause: Connection refused (os error 111)", Kind.NETWORK, "{0}/x/", "Connection refused"),
        (OLD + CONNECT.replace("cause", "Caused by") + "Connection refused (os error 111)", Kind.NETWORK, "{0}/x/", "Connection refused"),
        (
            NEW + CONNECT + "dns error\n  cause: failed to lookup address information: Name or service not known",
            Kind.NETWORK, "{0}/x/", "Name or service not known",
        ),
        (NEW + CONNECT + "tunnel error: failed\n  cause: Connection refused (os error 111)", Kind.PROXY, "{0}/x/", "Connection refused"),
        (NEW + CONNECT + "invalid peer certificate: UnknownIssuer", Kind.CERTIFICATE, "{0}/x/", "UnknownIssuer"),
        (NEW + "  cause: operation timed out", Kind.SLOW, "{0}/x/", ""),
        (
            NEW + "  cause: HTTP status server error (503 Service Unavailable) for url ({0}/x/)",
            Kind.SERVER, "{0}/x/", "503 Service Unavailable",
        ),
        (
            "error: Failed to fetch: {0}/x/\n  cause: HTTP status client error (407 Proxy Authentication Required) for url ({0}/x/)",
            Kind.PROXY, "{0}/x/", "407 Proxy Authentication Required",
        ),
        (
            "error: Git operation failed\n  cause: failed\n  fatal: unable to access '{0}/x.git/': Could not resolve host: nowhere",
            Kind.NETWORK, "{0}/x.git/", "Could not resolve host: nowhere",
        ),
        (
            NONE + "Because x was not found in the package registry and you require x, …\n\n"
            "hint: An index URL ({0}) could not be queried due to a lack of valid authentication credentials (401 Unauthorized)",
            Kind.CREDENTIALS, "{0}", "401 Unauthorized",
        ),
        (
            NONE + "Because x was not found in the package registry and you require x, …\n\n"
            "hint: An index ({0}) returned a 403 Forbidden error. Check that the index URL is correct and the credentials are valid.",
            Kind.CREDENTIALS, "{0}", "403 Forbidden",
        ),
        (FRAME + "Because x was not found in the package registry and you require x, so", Kind.UNKNOWN, "x",
         "Because x was not found in the package registry and you require x, so"),
        (NONE + "Because x was not found in the provided package locations and y depends on x, so", Kind.UNKNOWN, "x",
         "Because x was not found in the provided package locations and y depends on x, so"),
        (NONE + "Because x was not found in the cache and you require x, so", Kind.OFFLINE, "x",
         "Because x was not found in the cache and you require x, so"),
        (NONE + "Because there is no version of x==99 and you require x==99, so", Kind.UNSOLVED, "",
         "Because there is no version of x==99 and you require x==99, so"),
        (NONE + "Because only x==2.0 is available\n         And because you require x<2, so", Kind.UNSOLVED, "",
         "Because only x==2.0 is available\nAnd because you require x<2, so"),
        (
            NONE + "Because only x==1.0a1 is available and you require x>=1, so\n\nhint: Pre-releases are available for `x` in the requested"
            " range (e.g., 1.0a1), but pre-releases weren't enabled (try: `--prerelease=allow`)",
            Kind.PRERELEASE, "", "Because only x==1.0a1 is available and you require x>=1, so\nhint: Pre-releases are available for `x` in the"
            " requested range (e.g., 1.0a1), but pre-releases weren't enabled (try: `--prerelease=allow`)",
        ),
        (
            NONE + "Because the current Python version (3.11.2) does not satisfy Python>=3.13 and x==1.0 depends on Python>=3.13, so",
            Kind.PYTHON, ">=3.13", "x 1.0 needs Python >=3.13, and this one is 3.11.2",
        ),
        (
            NONE + "Because x==1.0 has no wheels with a matching Python ABI tag (e.g., `cp311`)\n\nhint: You require CPython 3.11 (`cp311`),"
            " but we only found wheels for `x` (v1.0) with the following Python ABI tags: `cp39`, `cp310`",
            Kind.PYTHON, "3.10", "x has wheels for Python 3.10, and none for 3.11",
        ),
        (
            "error: Failed to download `x==1.0`\n  cause: failed to write to file `/home/me/.cache/uv/.tmp1/x.py`: No space left on device"
            " (os error 28)",
            Kind.FULL, "/home/me/.cache/uv/.tmp1/x.py", "No space left on device",
        ),
        (
            "error: Failed to install: x\n  cause: failed to copy file from /home/me/x.py to /pool/tmp/.tmp1: Disk quota exceeded (os error 122)",
            Kind.FULL, "/pool/tmp/.tmp1", "Disk quota exceeded",
        ),
    ],
)  # fmt: skip
def test_uvs_words_are_told_apart(words: str, kind: Kind, subject: str, why: str) -> None:
    for url in ("http://127.0.0.1:9/simple", "https://index.example.org/simple"):
        found = trouble(words.format(url))
        assert found is not None
        assert (found.kind, found.subject, found.why) == (kind, subject.format(url), why)


@pytest.mark.parametrize(
    "words",
    [
        "error: Failed to build `x`\n  cause: The build backend returned an error",
        "error: Failed to fetch: https://a.b/x.whl\n  cause: HTTP status client error (404 Not Found) for url (https://a.b/x.whl)",
        "the install is incomplete: 2 recorded files are missing or empty (a, b)",
        "",
    ],
)
def test_what_has_no_known_end_stays_in_uvs_words(words: str) -> None:
    assert trouble(words) is None


def scene(environ: dict[str, str], *dependencies: str, python: str | None = None, uv: str = "0.13.9") -> Any:
    """Where a build of s.py has failed, with a log."""
    need = SimpleNamespace(payload=SimpleNamespace(document={"dependencies": list(dependencies), "python": python}))
    return SimpleNamespace(
        need=need, first="s.py", log="log", layout=SimpleNamespace(path="/p/.sharedenv"), uv=SimpleNamespace(version=uv), environ=environ,
        offline=False, command="build",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "subject", "why", "scene", "first", "hint"),
    [
        (Kind.NETWORK, "https://a.b.org/x", "refused", scene({"HTTPS_PROXY": "http://p:3", "NO_PROXY": "c.org, b.org"}),
         "no connection to a.b.org: refused", "export HTTPS_PROXY=http://HOST:PORT" + NEAR),
        (Kind.NETWORK, "https://ab.org/x", "refused", scene({"HTTPS_PROXY": "http://p:3", "no_proxy": ".b.org"}),
         "no connection to ab.org through the proxy p:3 (from HTTPS_PROXY): refused",
         "unset HTTPS_PROXY  # or name the one that is there: export HTTPS_PROXY=http://HOST:PORT"),
        (Kind.NETWORK, "https://ab.org/x", "refused", scene({"HTTP_PROXY": "http://p:3"}),
         "no connection to ab.org: refused", "export HTTPS_PROXY=http://HOST:PORT" + NEAR),
        (Kind.SLOW, "https://a.b/x", "", scene({}), "no answer from a.b within 30 s", "export UV_HTTP_TIMEOUT=300"),
        (Kind.SLOW, "https://a.b/x", "", scene({"UV_HTTP_TIMEOUT": "5"}), "no answer from a.b within 5 s", "export UV_HTTP_TIMEOUT=50"),
        (Kind.UNKNOWN, "some-name", "y depends on it", scene({}, "some-name>=1", "y"),
         "no index has a package of the name some-name", "grep -in -e 'some[-_.]name' s.py"),
        (Kind.UNKNOWN, "some-name", "y depends on it", scene({}, "y"), "no index has a package of the name some-name", "cat log"),
        (Kind.PYTHON, ">=3.13", "x needs it", scene({}), "x needs it", "export SHAREDENV_PYTHON='>=3.13'"),
        (Kind.PYTHON, ">=3.13", "x needs it", scene({}, python="3.11"), "x needs it", "sharedenv build --python '>=3.13' s.py"),
        (Kind.FULL, "/p/.sharedenv/tmp/x", "Disk quota exceeded", scene({}),
         "no room in the pool /p/.sharedenv: Disk quota exceeded", "sharedenv prune --dry-run"),
        (Kind.FULL, "/p/.sharedenv/tmp/x", "No space left on device", scene({}),
         "no room in the pool /p/.sharedenv: No space left on device", "df -h -i /p/.sharedenv"),
        (Kind.PRERELEASE, "", "only x==1.0a1", scene({}), "only x==1.0a1", "export UV_PRERELEASE=allow"),
        (Kind.UNSOLVED, "", "y is not x", scene({"UV_EXCLUDE_NEWER": "2020-01-01"}, "x"), "y is not x", "unset UV_EXCLUDE_NEWER"),
        (Kind.UNSOLVED, "", "xy is not y", scene({}, "x"), "xy is not y", "cat log"),
        (Kind.CERTIFICATE, "https://a.b/x", "UnknownIssuer", scene({}, uv="0.11.0"),
         "the certificate of a.b is not one that uv trusts: UnknownIssuer",
         "export UV_SYSTEM_CERTS=1  # trusts what this system does; SSL_CERT_FILE names others"),
        (Kind.CERTIFICATE, "https://a.b/x", "UnknownIssuer", scene({}, uv="0.10.9"),
         "the certificate of a.b is not one that uv trusts: UnknownIssuer",
         "export UV_NATIVE_TLS=1  # trusts what this system does; SSL_CERT_FILE names others"),
    ],
)  # fmt: skip
def test_each_trouble_has_its_remedy(
    kind: Kind, subject: str, why: str, scene: Any, first: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["sharedenv.build.remedy"], "cache_folder", lambda _uv, _environ: "/home/me/.cache/uv")
    cause, end = remedy(Trouble(kind, subject, why), scene)
    assert (cause.splitlines()[0], end) == (first, hint) and cause.endswith("\n(all that uv said: log)")


def told(project: Project, *arguments: str, **env: str) -> str:
    """What a build says on stderr, without the lines that tell how it goes on; keys as KEY."""
    env = {"UV_OFFLINE": "0", "UV_HTTP_RETRIES": "0", **env}
    said = project.call(*arguments, status=3, env=env).stderr
    said = re.sub(r"\b[0-9a-f]{12}\b", "KEY", said)
    return "".join(line for line in said.splitlines(keepends=True) if not line.startswith(("made the pool ", "building environment ")))


def without_index(project: Project) -> None:
    """Folders of wheels are all that uv looks at, and there is a network."""
    (project.path / "uv.toml").write_text("no-index = true\n")


def expected(cause: str, hint: str, name: str = "s.py") -> str:
    """The whole of an error."""
    return f"error: can't build environment KEY for {name}\n  cause: {cause}\n         (all that uv said: .sharedenv/logs/KEY.log)\n\nhint: {hint}\n"


@pytest.mark.parametrize(
    ("env", "cause", "hint"),
    [
        (
            {"UV_DEFAULT_INDEX": REFUSED},
            "no connection to 127.0.0.1:9 (from UV_DEFAULT_INDEX): Connection refused",
            "sharedenv build --offline s.py  # asks no index: the wheels of find-links alone",
        ),
        (
            {"UV_DEFAULT_INDEX": REFUSED, "UV_FIND_LINKS": ""},
            "no connection to 127.0.0.1:9 (from UV_DEFAULT_INDEX): Connection refused",
            "export HTTP_PROXY=http://HOST:PORT" + NEAR,
        ),
        (
            {"UV_DEFAULT_INDEX": REFUSED, "SLURM_JOB_ID": "7"},
            "no connection to 127.0.0.1:9 (from UV_DEFAULT_INDEX): Connection refused, in a job (SLURM_JOB_ID is set)",
            "sharedenv build s.py  # on a login node, where there is a network",
        ),
        (
            {"UV_DEFAULT_INDEX": "https://index.example/simple", "https_proxy": "http://me:secret@127.0.0.1:9"},
            "no connection to index.example through the proxy 127.0.0.1:9 (from https_proxy): Connection refused",
            "unset https_proxy  # or name the one that is there: export https_proxy=http://HOST:PORT",
        ),
        (
            {"UV_DEFAULT_INDEX": "http://index.example/simple", "ALL_PROXY": "127.0.0.1:9"},
            "no connection to index.example through the proxy 127.0.0.1:9 (from ALL_PROXY): Connection refused",
            "unset ALL_PROXY  # or name the one that is there: export ALL_PROXY=http://HOST:PORT",
        ),
        (
            {"UV_OFFLINE": "1"},
            "nowhere is not in uv's cache, and UV_OFFLINE keeps uv from asking an index",
            "unset UV_OFFLINE  # where there is a network",
        ),
        ({}, "no index has a package of the name nowhere", "grep -in -e nowhere s.py"),
    ],
    ids=["network, but wheels beside", "network", "in a job", "proxy", "proxy for all", "offline", "unknown"],
)
def test_a_build_that_can_not_have_its_packages(project: Project, env: dict[str, str], cause: str, hint: str) -> None:
    project.script("s.py", ["nowhere"])
    if not env:
        without_index(project)
    assert told(project, "build", "s.py", **env) == expected(cause, hint)


def test_requirements_that_can_not_all_be_met(project: Project) -> None:
    without_index(project)
    project.script("s.py", ["beta", "Alpha>=2"])
    said = told(project, "build", "s.py")
    assert said.startswith("error: can't build environment KEY for s.py\n  cause: Because all versions of beta depend on alpha<2")
    assert said.endswith("\n\nhint: grep -in -e alpha -e beta s.py\n")
    assert "beta" in project.shell(said.rpartition("hint: ")[2])
    project.script("t.py", ["alpha==99"])
    because = "Because there is no version of alpha==99 and you require alpha==99, we can conclude that your requirements are unsatisfiable."
    assert told(project, "build", "t.py") == expected(because, "grep -in -e alpha t.py", "t.py")
    assert "unset UV_EXCLUDE_NEWER" in told(project, "build", "t.py", UV_EXCLUDE_NEWER="2020-01-01")


def test_a_lock_that_can_not_have_its_packages_says_the_same(project: Project) -> None:
    project.script("s.py", ["nowhere"])
    for env, cause, hint in (
        ({"UV_DEFAULT_INDEX": REFUSED}, "no connection to 127.0.0.1:9 (from UV_DEFAULT_INDEX): Connection refused",
         "sharedenv lock --offline s.py  # asks no index: the wheels of find-links alone"),
        ({"UV_DEFAULT_INDEX": REFUSED, "UV_FIND_LINKS": ""}, "no connection to 127.0.0.1:9 (from UV_DEFAULT_INDEX): Connection refused",
         "export HTTP_PROXY=http://HOST:PORT" + NEAR),
        ({"UV_OFFLINE": "1"}, "nowhere is not in uv's cache, and UV_OFFLINE keeps uv from asking an index",
         "unset UV_OFFLINE  # where there is a network"),
    ):  # fmt: skip
        assert told(project, "lock", "s.py", **env).endswith(f"error: can't lock s.py\n  cause: {cause}\n\nhint: {hint}\n")


class Index(http.server.BaseHTTPRequestHandler):
    """An index whose one package is for a Python of the future; what it is asked for below /503/ and /401/ it refuses with that."""

    def do_GET(self) -> None:
        """Answers."""
        status = int(self.path[1:4]) if self.path[1:4].isdigit() else 200
        body = b'<a href="/future-1.0-py3-none-any.whl" data-requires-python="&gt;=3.99">future-1.0-py3-none-any.whl</a>'
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    """The host of such an index."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "cause", "hint"),
    [
        (
            "simple",
            'future 1.0 needs Python >=3.99, and this one is {version}\n         (for good: requires-python = ">=3.99" in the script)',
            "export SHAREDENV_PYTHON='>=3.99'",
        ),
        (
            "503/simple",
            "{host} (from UV_DEFAULT_INDEX) answers 503 Service Unavailable",
            "curl -sSI http://{host}/503/simple/future/  # build again once it answers 200",
        ),
        (
            "401/simple",
            "the index {host} (from UV_DEFAULT_INDEX) wants a name and a password, or other ones: 401 Unauthorized",
            "uv auth login 127.0.0.1  # or a line for it in ~/.netrc",
        ),
    ],
    ids=["Python", "server", "credentials"],
)
def test_an_index_that_does_not_give_what_is_wanted(project: Project, index: str, path: str, cause: str, hint: str) -> None:
    del project.env["UV_FIND_LINKS"]
    project.script("s.py", ["future"])
    said = told(project, "build", "s.py", UV_DEFAULT_INDEX=f"http://{index}/{path}")
    version = found[1] if (found := re.search(r"this one is (\S+)", said)) else ""
    assert said == expected(cause.format(host=index, version=version), hint.format(host=index))


@pytest.mark.root
def test_a_cache_that_is_full_is_told_from_a_pool_that_is(project: Project, tmp_path: Path) -> None:
    require("mount")
    make_wheel(tmp_path / "wheels", "big", "1.0", modules={f"big{number}.py": "x = 1\n" * 20_000 for number in range(10)})
    env = {"UV_FIND_LINKS": str(tmp_path / "wheels")}
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", "size=600k", "none") as folder:
        without_index(project)
        project.script("s.py", ["big"])
        said = told(project, "build", "s.py", **env, UV_CACHE_DIR=str(folder / "cache"))
        cause = f"no room in uv's cache {folder}/cache: No space left on device"
        assert said == expected(cause, f"export UV_CACHE_DIR={project.path}/.uv-cache")
        full = Project(folder / "w", project.env)
        full.path.mkdir()
        without_index(full)
        full.script("s.py", ["big"])
        said = told(full, "build", "s.py", **env)
        assert said == expected(f"no room in the pool {full.pool}: No space left on device", f"df -h -i {full.pool}")


def test_one_cause_is_told_once_and_the_others_are_not_tried_for_long(project: Project) -> None:
    """Five environments and no network: one error, and no wait of ten seconds for each."""
    for number in range(10):
        project.script(f"case{number}/script.py", [f"nowhere{number % 5}"])
    env = {"UV_DEFAULT_INDEX": REFUSED}
    said = told(project, "run", "case*/script.py", **env)
    lines = said.splitlines()
    failed = [line for line in lines if line.startswith("failed: ")]
    cause = "no connection to 127.0.0.1:9 (from UV_DEFAULT_INDEX): Connection refused"
    assert len(failed) == 5
    assert failed[0].endswith(f"its environment could not be built: {cause}")
    assert all(line.endswith("its environment could not be built, for the same reason") for line in failed[1:])
    assert sum(line.startswith("error: ") for line in lines) == sum(line.startswith("hint: ") for line in lines) == 1
    [error] = [line for line in lines if line.startswith("error: ")]
    assert re.fullmatch(r"error: can't build environment KEY for case\d/script.py and 1 more \(4 more errors for the same reason\)", error)
    assert "  10 × its environment could not be built (why: above)" in lines
    assert said.count(cause) == 2, "as it happened, and with the hint"
    assert f"10 × its environment could not be built: {cause}" in project.call("status").stdout


def test_after_the_first_failure_uv_tries_once(project: Project, tmp_path: Path) -> None:
    """What uv is started with, as a uv in between sees it."""
    uv = tmp_path / "uv"
    seen = tmp_path / "seen"
    uv.write_text(f'#!/bin/sh\n[ "$3 $4" = "--no-progress sync" ] && echo "${{UV_HTTP_RETRIES-default}}" >> {seen}\nexec uv "$@"\n')
    uv.chmod(0o755)
    for number in range(3):
        project.script(f"case{number}/script.py", [f"nowhere{number}"])
    env = {"UV_DEFAULT_INDEX": REFUSED, "UV_HTTP_RETRIES": "1", "SHAREDENV_UV": str(uv)}
    told(project, "build", "-j1", "case*/script.py", **env)
    assert seen.read_text() == "1\n0\n0\n"


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ((), ""),
        (("Resolved 4 packages in 1.29s",), "downloading"),
        (("Resolved 4 packages in 1.29s", "Downloading pandas (11.8MiB)", "Downloading numpy (16.1MiB)"), "downloading pandas, numpy: 0 of 29 MB"),
        (("Downloading a (1.0GiB)", "Downloading b (16.1MiB)", " Downloaded b"), "downloading a: 0.0 of 1.1 GB"),
        (("Downloading a (1.1GiB)", "Downloading b (1.1GiB)", " Downloaded b"), "downloading a: 1.2 of 2.4 GB"),
        (("Downloading a (1MiB)", "Downloading b (1MiB)", "Downloading c (512.0KiB)"), "downloading a, b and 1 more: 0 of 3 MB"),
        (("Downloading a (1.0MiB)", " Downloaded a"), "unpacking"),
        (("   Building a==1.0",), "building a==1.0"),
        (("   Building a==1.0", "      Built a==1.0"), "unpacking"),
        (("Prepared 4 packages in 5.59s",), "installing"),
        (("Prepared 4 packages in 5.59s", "Installed 4 packages in 842ms"), "compiling bytecode"),
        (("warning: something", " + numpy==2.4.6"), ""),
    ],
)
def test_what_uv_does_is_told_from_its_lines(lines: tuple[str, ...], text: str) -> None:
    phases = Phases()
    for line in lines:
        phases.hear(line)
    assert phases.text == text


def test_what_uv_does_is_told_while_it_does_it(tmp_path: Path) -> None:
    """From a log that grows, by whole lines."""
    told: list[str] = []
    with (tmp_path / "log").open("x+") as log:
        log.write("Downloading z (2MiB)\n")  # by a program before
        with following(log, told.append):
            for text, said in (("Resolved 2 pack", 0), ("ages in 1s\nDownloading a (2MiB)\n", 1), (" Downloaded a\nPrepared 2 packages in 1s\n", 2)):
                log.write(text)
                log.flush()
                wait_for(lambda said=said: len(told) == said)  # type: ignore[misc]  # bound now
    assert told == ["downloading a: 0 of 2 MB", "installing"]
