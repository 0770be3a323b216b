"""What uv is given says what the payload says, and really installs."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tomli

from sharedenv.errors import SharedenvError
from sharedenv.key.make import make_payload
from sharedenv.key.payload import Payload, payload_from
from sharedenv.key.settings import Settings, gather_settings
from sharedenv.key.uv_inputs import Inputs, build_inputs, canonical_script, python_request
from sharedenv.script.metadata import Metadata, parse_script
from sharedenv.start.block import Block
from tests.conftest import Project
from tests.key.test_key import OPTIONS, PROJECT
from tests.wheels import make_wheel

UV = shutil.which("uv") or "uv"


def payload(dependencies: Sequence[str] = (), uv: Mapping[str, Any] | None = None, **fields: Any) -> Payload:
    """The payload of a script in /project/case1."""
    return make_payload(Metadata(None, tuple(dependencies), uv or {}, Block(b"", 1)), "/project/case1", None, PROJECT)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_option_survives_the_way_there_and_back(name: str) -> None:
    one = payload(uv={name: OPTIONS[name]})
    text = canonical_script(one, "/project")
    assert make_payload(parse_script(text.encode()), "/anywhere", None, PROJECT) == one


def test_text_of_any_kind_survives() -> None:
    strange = {"config-settings": {'quo"te': 'back\\slash \x7f \x01 é 🐍 \n tab\t', "list": ["a", "b"], "": ""}}
    one = payload(uv=strange)
    assert make_payload(parse_script(canonical_script(one, "/project").encode()), "/x", None, PROJECT) == one


def test_relative_places_become_absolute() -> None:
    inputs = build_inputs(payload(uv={"sources": {"a": {"path": "lib"}}, "find-links": ["..", "/opt"]}), PROJECT)
    assert '"/project/case1/lib"' in inputs.script
    assert 'find-links = ["/project", "/opt"]' in inputs.script


def test_credentials_come_back_for_the_build_alone() -> None:
    one = payload(
        ["a @ https://me:s3cret@x.org/a.whl#sha256=00 ; os_name == 'posix'"],
        {"index": [{"url": "https://tok3n@x.org/simple"}], "sources": {"b": {"git": "https://gitt0k@x.org/b"}}},
    )
    for secret in ("s3cret", "tok3n", "gitt0k"):
        assert secret not in one.text + repr(one) + canonical_script(one, "/project")
        inputs = build_inputs(one, PROJECT)
        assert secret in inputs.script
        assert any(secret in hidden for hidden in inputs.secrets)
        assert secret not in repr(inputs)
    assert '"a @ https://me:s3cret@x.org/a.whl#sha256=00 ; os_name' in inputs.script


@pytest.mark.parametrize(
    "options",
    [
        {"constraint-dependencies": ["b @ git+https://hunter2@x.org/b"]},
        {"override-dependencies": [{"package": {"name": "a"}, "dependencies": ["b @ git+https://hunter2@x.org/b"]}]},
        {"extra-build-dependencies": {"a": ["b @ git+https://hunter2@x.org/b ; os_name == 'x'"]}},
        {"extra-build-dependencies": {"a": [{"requirement": "b @ https://x.org/b.zip?token=hunter2", "match-runtime": False}]}},
        {"dependency-metadata": [{"name": "a", "requires-dist": ["b @ git+https://hunter2@x.org/b"]}]},
        {"extra-build-variables": {"a": {"INDEX": "https://hunter2@x.org/simple"}}},
        {"config-settings": {"a": ["--url=https://me:hunter2@x.org", "b"]}},
        {"config-settings-package": {"a": {"b": "https://x.org/?token=hunter2"}}},
        {"index": [{"url": "https://x.org", "a-field-of-tomorrow": {"proxy": "http://me:hunter2@x.org"}}]},
        {"sources": {"a": {"git": "https://me:hunter2@x.org/b"}, "b": [{"url": "https://x.org/b.zip?api_key=hunter2"}]}},
    ],
)
def test_credentials_anywhere_in_an_option_reach_uv_alone(options: dict[str, Any]) -> None:
    one = payload(uv=options)
    inputs = build_inputs(one, PROJECT)
    assert "hunter2" not in one.text + repr(one) + repr(inputs) + canonical_script(one, "/project")
    assert inputs.script.count("hunter2") == str(options).count("hunter2")
    assert any("hunter2" in secret for secret in inputs.secrets)
    rotated = json.loads(json.dumps(options).replace("hunter2", "correct-horse"))
    assert payload(uv=rotated) == one


def test_an_inert_option_that_a_build_may_need_travels_beside_the_payload() -> None:
    inputs = build_inputs(payload(uv={"keyring-provider": "subprocess", "upgrade": True, "cache-dir": "x"}), PROJECT)
    assert 'keyring-provider = "subprocess"' in inputs.script
    assert "upgrade" not in inputs.script
    assert "cache-dir" not in inputs.script


def test_what_is_built_comes_from_the_payload_not_from_the_moment() -> None:
    """A repair from a manifest happens in another environment than the first build."""
    then = Settings("/project", platform="x", counted={"UV_PRERELEASE": "allow", "UV_FIND_LINKS": ["./w", "/o"], "resolution": "lowest"})
    one = make_payload(Metadata(None, ("a",), {}, Block(b"", 1)), "/project", None, then)
    now = Settings("/moved", variables={"UV_CACHE_DIR": "/cache"}, counted={"UV_NO_BUILD": True})
    inputs = build_inputs(payload_from(one.document), now)
    assert inputs.variables == {"UV_CACHE_DIR": "/cache", "UV_PRERELEASE": "allow", "UV_FIND_LINKS": "/moved/w,/o"}
    assert inputs.config == 'resolution = "lowest"\n'


def test_lists_of_the_environment_become_options_unless_the_script_is_locked() -> None:
    around = Settings("/project", counted={"UV_CONSTRAINT": ["six<2"], "UV_EXCLUDE": ["b"]})
    metadata = Metadata(None, ("a",), {"constraint-dependencies": ["six>1", "c"]}, Block(b"", 1))
    free = build_inputs(make_payload(metadata, "/project", None, around), around)
    assert 'constraint-dependencies = ["c", "six<2,>1"]' in free.script
    assert 'exclude-dependencies = ["b"]' in free.script
    locked = build_inputs(make_payload(metadata, "/project", b"version = 1\n", around), around)
    assert 'constraint-dependencies = ["c", "six>1"]' in locked.script
    assert locked.lock == b"version = 1\n"
    assert not locked.in_place


def test_a_locked_payload_is_never_built_unlocked() -> None:
    locked = make_payload(Metadata(None, ("a",), {}, Block(b"", 1)), "/project", b"version = 1\n", PROJECT)
    with pytest.raises(SharedenvError, match="without its lock file"):
        build_inputs(payload_from(locked.document), PROJECT)


@pytest.mark.parametrize(
    ("requires", "python", "expected"),
    [
        ("", None, "default"),
        (">=3.9", None, ">=3.9"),
        (">=3.9", "3.12", "3.12"),
        ("==3.11", None, "==3.11.0"),
        ("==3", None, "==3.0.0"),
        ("==3.11.*", None, "==3.11.*"),
    ],
)
def test_what_uv_is_asked_for_a_python(requires: str, python: str | None, expected: str) -> None:
    assert python_request(requires, python) == expected


LIBRARY = """\
import zipfile
def _wheel(folder):
    with zipfile.ZipFile(folder + "/lib-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lib.py", open("lib.py").read())
        wheel.writestr("lib-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: lib\\nVersion: 1\\n")
        wheel.writestr("lib-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("lib-1.dist-info/RECORD", "")
    return "lib-1-py3-none-any.whl"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder)
def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder)
"""


def make_library(folder: Path, value: str = "1") -> Path:
    """A package `lib` with a build backend of its own, so that it installs without a network."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (folder / "pyproject.toml").write_text('[project]\nname = "lib"\nversion = "1"\n' + backend)
    (folder / "backend.py").write_text(LIBRARY)
    (folder / "lib.py").write_text(f"VALUE = {value!r}\n")
    return folder


PRINT_LIB = "import lib; print(lib.VALUE)"


@pytest.mark.parametrize(
    "source", ['path = "../lib"', 'path = "../lib", editable = true', 'path = "../lib", marker = "os_name == \'posix\'"']
)
def test_relative_sources_install(project: Project, source: str) -> None:
    make_library(project.path / "lib")
    extra = f"[tool.uv.sources]\nlib = {{ {source} }}"
    project.script("case1/s.py", ["lib"], PRINT_LIB, extra=extra)
    project.script("case2/s.py", ["lib"], PRINT_LIB, extra=extra)
    assert project.call("exec", "case1/s.py").stdout == "1\n"
    assert project.call("exec", "case2/s.py").stdout == "1\n"
    assert len(project.environments) == 1


@pytest.mark.parametrize(
    "option",
    [
        'find-links = ["../own"]',
        '[[tool.uv.index]]\nurl = "../own"\nformat = "flat"',
        'index = [{ url = "../own", format = "flat" }]',
    ],
)
def test_relative_indexes_install(project: Project, option: str) -> None:
    make_wheel(project.path / "own", "private", "3.0")
    head = "" if option.startswith("[[") else "[tool.uv]\n"
    project.script("case1/s.py", ["private"], "import private; print(private.VERSION)", extra=head + option)
    assert project.call("exec", "case1/s.py").stdout == "3.0\n"


def test_the_projects_configuration_holds_wherever_one_stands(project: Project) -> None:
    (project.path / "uv.toml").write_text('resolution = "lowest"\n')
    body = "import alpha; print(alpha.VERSION)"
    project.script("case1/s.py", ["alpha"], body)
    assert project.call("exec", "case1/s.py").stdout == "1.0\n"
    (project.path / "uv.toml").unlink()
    assert project.call("exec", "s.py", cwd=project.path / "case1").stdout == "2.0\n"
    assert project.call("exec", "case1/s.py", env={"UV_RESOLUTION": "lowest"}).stdout == "1.0\n"


def test_configuration_between_the_project_and_the_script_does_not_hold(project: Project) -> None:
    project.script("case1/s.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    (project.path / "case1" / "uv.toml").write_text('resolution = "lowest"\n')
    project.call("init")  # without, a folder with a uv.toml is the edge of a project of its own
    assert project.call("exec", "s.py", cwd=project.path / "case1").stdout == "2.0\n"


def test_the_users_configuration_does_not_change_what_is_resolved(project: Project, tmp_path: Path, wheels: Path) -> None:
    config = tmp_path / "config" / "uv"
    config.mkdir(parents=True)
    (config / "uv.toml").write_text('resolution = "lowest"\nlink-mode = "copy"\n')
    body = "import alpha, os; print(alpha.VERSION, os.stat(alpha.__file__).st_nlink)"
    project.script("s.py", ["alpha"], body)
    assert project.call("exec", "s.py", env={"XDG_CONFIG_HOME": str(tmp_path / "config")}).stdout == "2.0 1\n"


def test_a_users_mirror_is_used_and_the_manifest_says_so(project: Project, tmp_path: Path, wheels: Path) -> None:
    config = tmp_path / "config" / "uv"
    config.mkdir(parents=True)
    (config / "uv.toml").write_text(f'[[index]]\nurl = "{wheels}"\nformat = "flat"\ndefault = true\n')
    project.script("s.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "UV_FIND_LINKS": ""}
    before = project.call("key", "s.py", env={"UV_FIND_LINKS": ""}).stdout
    assert project.call("key", "s.py", env=env).stdout == before
    assert project.call("exec", "s.py", env=env).stdout == "2.0\n"
    manifest = (project.environments[0] / "sharedenv.json").read_text()
    assert '"user-config"' in manifest
    assert str(wheels) in manifest


def test_a_users_mirror_stands_behind_the_projects_indexes() -> None:
    mirror: dict[str, Any] = {"url": "https://mirror.org/simple", "default": True}
    around = Settings(
        "/project", inert={"index": [mirror], "offline": True}, notes={"user-config": {}},
        counted={"index": [{"name": "torch", "url": "https://x.org/torch", "explicit": True}]},
    )

    def inputs(uv: Mapping[str, Any]) -> Inputs:
        return build_inputs(make_payload(Metadata(None, ("a",), uv, Block(b"", 1)), "/project", None, around), around)

    config = tomli.loads(inputs({}).config)
    assert config["index"] == [*around.counted["index"], mirror]
    assert config["offline"] is True
    assert inputs({}).notes == around.notes
    # a script that names its default index has no use for it, and its manifest doesn't say otherwise
    own = inputs({"index": [{"url": "https://own.org/simple", "default": True}]})
    assert mirror["url"] not in own.config
    assert own.notes == {}


def test_a_constraint_of_the_environment_holds(project: Project) -> None:
    project.script("s.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    (project.path / "site.txt").write_text("alpha<2\n")
    assert project.call("exec", "s.py", env={"UV_CONSTRAINT": "site.txt"}).stdout == "1.1\n"
    (project.path / "site.txt").write_text("alpha<1.1\n")
    assert project.call("exec", "s.py", env={"UV_CONSTRAINT": "site.txt"}).stdout == "1.0\n"
    assert project.call("exec", "s.py", env={"UV_OVERRIDE": "site.txt"}).stdout == "1.0\n"


def lock(project: Project, name: str) -> None:
    """`uv lock --script`, as a user would."""
    subprocess.run([UV, "lock", "--quiet", "--script", name], cwd=project.path, env=project.env, check=True)


PRINT_ALPHA = "import alpha; print(alpha.VERSION)"


def test_the_lock_is_what_is_installed(project: Project) -> None:
    script = project.script("case1/s.py", ["Alpha <2.0", "alpha"], PRINT_ALPHA)
    project.env["UV_RESOLUTION"] = "lowest"
    lock(project, "case1/s.py")
    del project.env["UV_RESOLUTION"]
    project.script("case2/s.py", ["Alpha <2.0", "alpha"], PRINT_ALPHA)
    lines = project.call("key", "case1/s.py", "case2/s.py").stdout.splitlines()
    assert lines[0].split()[0] != lines[1].split()[0]
    assert project.call("exec", "case1/s.py").stdout == "1.0\n", "under the option that it was made with"
    assert project.call("exec", "case1/s.py", env={"UV_RESOLUTION": "lowest"}).stdout == "1.0\n"
    script.write_text(script.read_text().replace("<2.0", "<1.1"))
    assert "uv lock --script" in project.call("build", "case1/s.py", status=3, env={"UV_RESOLUTION": "lowest"}).stderr


@pytest.mark.parametrize("text", ["", "x", "version = 99\n", 'version = 99\nrequires-python = ">=3.8"\n'])
def test_a_damaged_lock_is_told_with_the_way_to_renew_it(project: Project, text: str) -> None:
    project.script("my script.py", ["alpha"])
    (project.path / "my script.py.lock").write_text(text)
    done = project.call("build", "my script.py", status=3)
    assert "its lock file my script.py.lock is damaged, or from another uv" in done.stderr
    assert "uv.lock`" in done.stderr  # in uv's own words
    hint = done.stderr.split("hint: ")[1]
    assert hint.startswith("mv 'my script.py.lock' 'my script.py.lock.old' && uv lock --script 'my script.py'")
    bin_folder = os.path.dirname(UV)
    env = {**project.env, "PATH": bin_folder + os.pathsep + project.env["PATH"]}
    subprocess.run(hint, shell=True, cwd=project.path, env=env, check=True)
    project.call("build", "my script.py")


def test_a_lock_made_with_another_python_holds_for_a_script_that_names_none(project: Project) -> None:
    """uv locks such a script for the Python at hand, which may be that of an active environment, or of another machine."""
    project.script("s.py", ["alpha"], PRINT_ALPHA, requires_python=None)
    lock(project, "s.py")
    path = project.path / "s.py.lock"
    path.write_text(re.sub('^requires-python = ".*"', 'requires-python = ">=3.8"', path.read_text(), flags=re.MULTILINE))
    assert project.call("exec", "s.py").stdout == "2.0\n"


@pytest.mark.parametrize(
    ("requires", "lock_says", "expected"),
    [
        (None, 'requires-python = ">=3.10"\n', ">=3.10"),
        (None, 'requires-python = ">=3.10"\nsource = { directory = "lib" }\n', "==3.10.*"),
        (None, 'requires-python = ">=3.10, <4"\nsource = { directory = "lib" }\n', "<4,>=3.10"),
        (">=3.11", 'requires-python = ">=3.10"\n', ">=3.11"),
        (None, 'requires-python = "x"\n', ""),
        (None, "version = 1\n", ""),
    ],
)
def test_which_python_a_locked_script_is_built_with(requires: str | None, lock_says: str, expected: str) -> None:
    metadata = Metadata(requires, ("a",), {}, Block(b"", 1))
    assert build_inputs(make_payload(metadata, "/project", lock_says.encode(), PROJECT), PROJECT).requires == expected


def test_a_lock_with_a_local_source_installs(project: Project) -> None:
    make_library(project.path / "lib")
    extra = '[tool.uv.sources]\nlib = { path = "../lib", editable = true }'
    for case in ("case1", "case2"):
        project.script(f"{case}/s.py", ["lib", "alpha"], PRINT_LIB, extra=extra)
    lock(project, "case1/s.py")
    shutil.copy(project.path / "case1/s.py.lock", project.path / "case2/s.py.lock")
    project.script("case3/deep/s.py", ["lib", "alpha"], PRINT_LIB, extra=extra)
    shutil.copy(project.path / "case1/s.py.lock", project.path / "case3/deep/s.py.lock")
    assert project.call("exec", "case1/s.py").stdout == "1\n"
    assert project.call("exec", "case2/s.py").stdout == "1\n"
    assert len(project.environments) == 1
    assert project.call("exec", "case3/deep/s.py", status=None).returncode == 125


def test_a_lock_over_a_relative_folder_of_wheels_installs(project: Project, wheels: Path) -> None:
    shutil.copytree(wheels, project.path / "own")
    env = {"UV_FIND_LINKS": ""}
    project.env.update(env)
    project.script("case1/s.py", ["alpha<2"], PRINT_ALPHA, extra='[tool.uv]\nfind-links = ["../own"]')
    lock(project, "case1/s.py")
    assert 'registry = "../own"' in (project.path / "case1/s.py.lock").read_text()
    assert project.call("exec", "case1/s.py").stdout == "1.1\n"


def test_a_script_that_is_edited_while_uv_reads_it_where_it_lies_is_not_built(project: Project) -> None:
    """With a lock that names places uv is given the script itself; what it then installs must be what the key says."""
    library = make_library(project.path / "lib")
    extra = '[tool.uv.sources]\nlib = { path = "lib" }'
    script = project.script("s.py", ["lib"], PRINT_LIB, extra=extra)
    lock(project, "s.py")
    other = script.read_text().replace("# [tool.uv.sources]", '# [tool.uv]\n# config-settings = { a = "b" }\n# [tool.uv.sources]')
    backend = library / "backend.py"
    backend.write_text(f"open({os.fspath(script)!r}, 'w').write({other!r})\n" + backend.read_text())
    done = project.call("build", "s.py", status=3)
    assert "s.py or its lock file was changed while the environment was built" in done.stderr
    assert project.environments == []


PAIRS = [
    (["alpha>=1.0", "alpha<2"], ["Alpha<2.0,>=1"]),
    (["beta"], ["BETA ; python_version >= '3'", "beta"]),
    (["gamma[more]"], ["Gamma[MORE]"]),
    (["gamma", "gamma[more]"], ["gamma[more]"]),
    (["alpha~=1.0"], ["alpha ~= 1.0"]),
    (["alpha==1.*"], ["alpha == v1.*"]),
    (["alpha==1.0"], ["alpha==1.0.0"]),
    (["alpha!=2.0"], ["alpha != 2"]),
    (["alpha", "beta", "tool"], ["tool", "beta", "alpha"]),
    (["alpha>1.0"], ["alpha>1"]),
    (["alpha<=1.1"], ["alpha<=1.1.0"]),
    (["alpha===1.0"], ["alpha === 1.0"]),
    (["alpha ; os_name == 'posix'"], ['alpha;(os.name=="posix")']),
    (["alpha<2 ; os_name == 'posix'", "alpha ; os_name == 'nt'"], ["alpha ; os_name == 'nt'", "ALPHA<2.0 ; os_name=='posix'"]),
]


def resolved(folder: Path, dependencies: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """What uv would install for a script as it stands."""
    folder.mkdir()
    listed = ", ".join(f'"{item}"' if "'" in item else f"'{item}'" for item in dependencies)
    (folder / "s.py").write_text(f"# /// script\n# dependencies = [{listed}]\n# ///\n")
    argv = [UV, "sync", "--script", "s.py", "--dry-run", "--python", os.path.realpath(shutil.which("python3", path=environ["PATH"]) or "")]
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(line.strip() for line in done.stderr.splitlines() if line.startswith(" + "))


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_pairs_that_share_a_key_resolve_to_the_same_set(tmp_path: Path, offline_env: dict[str, str], number: int) -> None:
    one, other = PAIRS[number]
    if number != 1:
        assert payload(one) == payload(other)
    found = resolved(tmp_path / "one", one, offline_env)
    assert found == resolved(tmp_path / "two", other, offline_env)
    assert found
    around = gather_settings(str(tmp_path), offline_env)
    text = canonical_script(make_payload(Metadata(None, tuple(one), {}, Block(b"", 1)), str(tmp_path), None, around), str(tmp_path))
    listed = parse_script(text.encode()).dependencies
    assert resolved(tmp_path / "three", [item.replace('"', "'") for item in listed], offline_env) == found


def test_of_versions_that_exclude_each_other_the_first_name_has_the_newest_as_under_uv_lock(project: Project) -> None:
    """`uv run` without a lock file goes by the order of the list; the order is in no key, so it can't count here."""
    for one, other in (("left", "right"), ("right", "left")):
        make_wheel(project.path / "own", one, "1.0")
        make_wheel(project.path / "own", one, "2.0", requires=[f"{other}<2"])
    project.env["UV_FIND_LINKS"] = str(project.path / "own")
    # not of the modules: two of one size, installed in one second, have one bytecode
    script = project.script("s.py", ["right", "left"], "from importlib.metadata import version; print(version('left'), version('right'))")
    assert subprocess.check_output([UV, "run", "--quiet", script], cwd=project.path, env=project.env, text=True) == "1.0 2.0\n"
    assert project.call("exec", "s.py").stdout == "2.0 1.0\n"
    lock(project, "s.py")
    assert subprocess.check_output([UV, "run", "--quiet", script], cwd=project.path, env=project.env, text=True) == "2.0 1.0\n"
    assert project.call("exec", "s.py").stdout == "2.0 1.0\n"


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Serves a folder to who knows the password."""

    asked: list[str]

    def do_GET(self) -> None:
        """Answers 401 without the password, in the header or in the query."""
        expected = "Basic " + base64.b64encode(b"me:hunter2secret").decode()
        if self.headers.get("Authorization") != expected and "token=hunter2secret" not in self.path:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.asked.append(self.path)
        super().do_GET()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def guarded(wheels: Path) -> Iterator[tuple[str, list[str]]]:
    """`127.0.0.1:PORT` of a server that wants me:hunter2secret, and the paths it has given out."""
    asked: list[str] = []
    handler = type("Handler", (Guarded,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(wheels)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    "way",
    [
        *("direct", "direct, by a token", "direct, by a variable", "source", "source, by a token"),
        *("find-links in the block", "find-links in uv.toml", "UV_FIND_LINKS", "index"),
    ],
)
def test_credentials_reach_the_server_and_no_file(project: Project, guarded: tuple[str, list[str]], way: str) -> None:
    host, asked = guarded
    url = f"http://me:hunter2secret@{host}/"
    env = {"UV_OFFLINE": "", "UV_FIND_LINKS": url if way == "UV_FIND_LINKS" else "", "NO_PROXY": "127.0.0.1"}
    needs, extra = ["alpha"], "[tool.uv]\nno-index = true\n"
    wheel = "alpha-2.0-py3-none-any.whl"
    by_token = f"http://{host}/{wheel}?token=hunter2secret"
    if way.startswith("direct"):
        env["LOGIN"] = "me:hunter2secret"
        needs = [f"alpha @ {by_token if 'token' in way else f'http://${{LOGIN}}@{host}/{wheel}' if 'variable' in way else url + wheel}"]
    elif way.startswith("source"):
        extra += f'sources = {{ alpha = {{ url = "{by_token if "token" in way else url + wheel}" }} }}\n'
    elif way == "find-links in the block":
        extra += f'find-links = ["{url}"]\n'
    elif way == "index":
        extra = f'[[tool.uv.index]]\nurl = "{url}"\nformat = "flat"\ndefault = true\n'
    elif way == "find-links in uv.toml":
        (project.path / "uv.toml").write_text(f'find-links = ["{url}"]\n')
    project.script("s.py", needs, "import alpha; print(alpha.VERSION)", extra=extra)
    done = project.call("exec", "s.py", env=env)
    assert done.stdout == "2.0\n"
    assert asked
    told = [done.stderr, *(project.call(*more, "s.py", env=env).stdout for more in (["key", "--json"], ["key", "--explain"], ["show", "--json"]))]
    assert "hunter2secret" not in "".join(told)
    for folder, _, names in os.walk(project.pool):
        for name in names:
            assert b"hunter2secret" not in Path(folder, name).read_bytes(), name
    project.call("verify")  # what was taken out of a file is taken out of its record
