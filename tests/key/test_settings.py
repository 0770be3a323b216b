"""What counts from outside the script, and what doesn't."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from uv import find_uv_bin

from sharedenv.errors import SharedenvError
from sharedenv.key import config, tool_uv
from sharedenv.key.make import make_payload
from sharedenv.key.settings import Settings, gather_settings
from sharedenv.key.toml import toml_text
from sharedenv.key.uv_inputs import build_inputs
from sharedenv.script.metadata import Metadata
from sharedenv.start import uv_variables
from sharedenv.start.block import Block
from sharedenv.start.environ import platform_tag
from tests.key.test_key import INERT, OPTIONS


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root, current."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def gather(root: Path, environ: Mapping[str, str] | None = None, python: str | None = None) -> Settings:
    """Settings with a HOME that has no configuration."""
    return gather_settings(str(root), {"HOME": str(root / "home"), "XDG_CONFIG_DIRS": str(root / "xdg"), **(environ or {})}, python)


def key(found: Settings) -> str:
    """The key of one script in these settings."""
    return make_payload(Metadata(None, ("alpha",), {}, Block(b"", 1)), found.root, None, found).key


def test_the_python_request_in_order(root: Path) -> None:
    assert gather(root).python is None
    (root / ".python-version").write_text("# ours\n\n 3.11  # until May\n3.12\n")
    assert gather(root).python == "3.11"
    assert gather(root).pinned
    assert gather(root, {"UV_PYTHON": "3.12"}).python == "3.12"
    assert not gather(root, {"UV_PYTHON": "3.12"}).pinned
    assert gather(root, {"UV_PYTHON": "3.12", "SHAREDENV_PYTHON": "3.13"}).python == "3.13"
    assert gather(root, {"UV_PYTHON": "3.12", "SHAREDENV_PYTHON": "3.13"}, "3.10").python == "3.10"
    assert gather(root, {"UV_PYTHON": "", "SHAREDENV_PYTHON": ""}).python == "3.11"
    assert gather(root, {"UV_NO_CONFIG": "1"}).python is None  # as in uv


def test_a_python_version_file_in_another_folder_does_not_count(root: Path) -> None:
    (root / "case1").mkdir()
    (root / "case1" / ".python-version").write_text("3.9")
    assert gather(root).python is None


COUNTED = {
    "UV_AMD_GPU_ARCHITECTURE": "gfx1100",
    "UV_BUILD_CONSTRAINT": "list.txt",
    "UV_CONSTRAINT": "list.txt",
    "UV_CUDA_DRIVER_VERSION": "550",
    "UV_DEFAULT_INDEX": "https://x.org/simple",
    "UV_EXCLUDE": "names.txt",
    "UV_EXCLUDE_NEWER": "2024-01-01",
    "UV_EXTRA_INDEX_URL": "https://x.org/simple",
    "UV_FIND_LINKS": "wheels",
    "UV_FORK_STRATEGY": "fewest",
    "UV_GIT_LFS": "1",
    "UV_INDEX": "torch=https://x.org/torch",
    "UV_INDEX_STRATEGY": "unsafe-best-match",
    "UV_INDEX_URL": "https://x.org/simple",
    "UV_MANAGED_PYTHON": "1",
    "UV_NO_BINARY": "true",
    "UV_NO_BINARY_PACKAGE": "a b",
    "UV_NO_BUILD": "1",
    "UV_NO_BUILD_ISOLATION": "1",
    "UV_NO_BUILD_PACKAGE": "a",
    "UV_NO_EDITABLE": "1",
    "UV_NO_SOURCES": "1",
    "UV_NO_SOURCES_PACKAGE": "a",
    "UV_OVERRIDE": "list.txt",
    "UV_PRERELEASE": "allow",
    "UV_PYTHON_PREFERENCE": "system",
    "UV_RESOLUTION": "lowest",
    "UV_SOMETHING_NEW": "1",
    "UV_TORCH_BACKEND": "cpu",
}


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_each_variable_that_changes_a_resolution_changes_the_key(root: Path, name: str) -> None:
    (root / "list.txt").write_text("beta<2\n")
    (root / "names.txt").write_text("beta\n")
    assert key(gather(root, {name: COUNTED[name]})) != key(gather(root))
    assert name in gather(root, {name: COUNTED[name]}).counted


@pytest.mark.parametrize("name", sorted(uv_variables.PASSED | uv_variables.DROPPED | {"UV_INDEX_X_PASSWORD", "UV_INTERNAL__X"}))
def test_no_other_variable_does(root: Path, name: str) -> None:
    (root / "uv.toml").write_text("")
    value = str(root / "uv.toml") if name == "UV_CONFIG_FILE" else "1"
    if name != "UV_PYTHON":
        assert key(gather(root, {name: value})) == key(gather(root))


def test_no_variable_stands_in_two_tables() -> None:
    tables = [uv_variables.PASSED, uv_variables.DROPPED, uv_variables.FLAGS, uv_variables.NAMES, uv_variables.PLAIN]
    tables += [frozenset(uv_variables.LOCATIONS), frozenset(uv_variables.FILES)]
    assert sum(map(len, tables)) == len(frozenset().union(*tables))


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("UV_NO_BUILD", "1", "true"),
        ("UV_NO_BUILD", "", None),
        ("UV_NO_BUILD", "false", None),
        ("UV_NO_BINARY_PACKAGE", "B_c a", "a  b-c"),
        ("UV_FIND_LINKS", "wheels, other", "./wheels,other/"),
        ("UV_PRERELEASE", "", None),
    ],
)
def test_one_meaning_one_key(root: Path, name: str, one: str, other: str | None) -> None:
    assert key(gather(root, {name: one})) == key(gather(root, {} if other is None else {name: other}))


def test_lists_count_by_content(root: Path) -> None:
    (root / "one.txt").write_text("# site\nBeta<2  # why\nalpha \\\n  >=1\n")
    (root / "two.txt").write_text("alpha>=1.0\nbeta<2.0\n")
    (root / "three.txt").write_text("alpha>=1.1\nbeta<2.0\n")
    keys = [key(gather(root, {"UV_CONSTRAINT": f"{name}.txt"})) for name in ("one", "two", "three")]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0] != key(gather(root, {"UV_OVERRIDE": "one.txt"}))
    assert gather(root, {"UV_CONSTRAINT": "one.txt two.txt"}).counted["UV_CONSTRAINT"] == ["alpha>=1", "beta<2"]


@pytest.mark.parametrize("text", ["-r other.txt\n", "alpha==1 --hash=sha256:00\n", "alpha>=1.*\n", None])
def test_a_list_that_cannot_be_read_is_an_error_that_names_the_variable(root: Path, text: str | None) -> None:
    if text is not None:
        (root / "list.txt").write_text(text)
    with pytest.raises(SharedenvError) as caught:
        gather(root, {"UV_CONSTRAINT": "list.txt"})
    assert "UV_CONSTRAINT" in caught.value.message
    assert caught.value.exit_code == 2


def test_relative_places_start_at_the_current_folder_and_are_written_relative_to_the_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gather(root, {"UV_FIND_LINKS": "wheels,/opt/wheels"}).counted["UV_FIND_LINKS"] == ["./wheels", "/opt/wheels"]
    (root / "case1").mkdir()
    monkeypatch.chdir(root / "case1")
    found = gather(root, {"UV_FIND_LINKS": "../wheels,wheels", "UV_INDEX": "x=../index https://x.org/simple"})
    assert found.counted["UV_FIND_LINKS"] == ["./wheels", "./case1/wheels"]
    assert found.counted["UV_INDEX"] == ["x=./index", "https://x.org/simple"]


def test_the_project_configuration_counts_and_uv_toml_beats_pyproject(root: Path) -> None:
    (root / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.uv]\nresolution = "lowest"\nmanaged = true\n')
    assert gather(root).counted == {"resolution": "lowest"}
    (root / "uv.toml").write_text('prerelease = "allow"\nlink-mode = "copy"\nfind-links = ["wheels"]\n')
    assert gather(root).counted == {"prerelease": "allow", "find-links": ["./wheels"]}
    assert gather(root).inert == {"link-mode": "copy"}
    assert gather(root, {"UV_NO_CONFIG": "1"}).counted == {}
    (root / "other.toml").write_text('resolution = "lowest-direct"\n')
    assert gather(root, {"UV_CONFIG_FILE": "other.toml"}).counted == {"resolution": "lowest-direct"}


def test_lists_about_the_project_itself_do_not_count(root: Path) -> None:
    text = '[tool.uv]\nconstraint-dependencies = ["a<1"]\noverride-dependencies = ["b"]\ndev-dependencies = ["c"]\n'
    (root / "pyproject.toml").write_text(text + '[tool.uv.sources]\nalpha = { path = "alpha" }\n')
    assert gather(root).counted == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resolution = 1", "resolution"), ("x = = 1\n", "line 1"), ('index = [{ name = "a" }]', "without a url"),
        pytest.param(f"x = {'9' * 5000}", "number is too large", id="digits"), pytest.param("x = " + "[" * 900, "nested deeper", id="lists"),
        pytest.param("x" + ".x" * 500 + " = 1", "nested deeper", id="tables"), ("index = 5", "index: not a list"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_read_is_an_error_that_names_the_file(root: Path, text: str, words: str) -> None:
    (root / "uv.toml").write_text(text)
    with pytest.raises(SharedenvError) as caught:
        gather(root)
    assert str(root / "uv.toml") in caught.value.message
    assert words in (caught.value.cause or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [("index = 5", "index: not a list"), ("x" + ".x" * 500 + " = 1", "nested deeper"), ("x = " + "9" * 5000, "too large")],
    ids=["type", "tables", "digits"],
)
def test_so_is_the_users_own(root: Path, text: str, words: str) -> None:
    file = root / "home/.config/uv/uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(SharedenvError) as caught:
        build_inputs(make_payload(Metadata(None, ("alpha",), {}, Block(b"", 1)), str(root), None, gather(root)), gather(root))
    assert str(file) in caught.value.message and words in (caught.value.cause or "")


def test_a_missing_config_file_is_an_error(root: Path) -> None:
    with pytest.raises(SharedenvError, match="UV_CONFIG_FILE"):
        gather(root, {"UV_CONFIG_FILE": "nowhere.toml"})


def test_an_option_of_a_later_uv_counts(root: Path) -> None:
    (root / "uv.toml").write_text('some-new-option = "x"\n')
    assert gather(root).counted == {"some-new-option": "x"}


def test_the_users_configuration_counts_in_no_key(root: Path) -> None:
    config = root / "home" / ".config" / "uv"
    config.mkdir(parents=True)
    (config / "uv.toml").write_text(
        'resolution = "lowest"\nlink-mode = "copy"\nextra-index-url = ["https://e.org"]\nindex-url = "https://me:s3cret@mirror.org/simple"\n'
    )
    found = gather(root)
    assert found.counted == {}
    assert found.inert == {"link-mode": "copy", "index": [{"url": "https://me:s3cret@mirror.org/simple", "default": True}]}
    assert found.notes == {"user-config": {"file": str(config / "uv.toml"), "index": "https://mirror.org/simple"}}
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    "environ", [{"UV_DEFAULT_INDEX": "https://x.org"}, {"UV_INDEX_URL": "https://x.org"}, {"UV_NO_CONFIG": "1"}]
)
def test_a_mirror_of_the_user_is_left_alone_where_another_index_is_named(root: Path, environ: dict[str, str]) -> None:
    config = root / "home" / ".config" / "uv"
    config.mkdir(parents=True)
    (config / "uv.toml").write_text('[[index]]\nurl = "https://mirror.org/simple"\ndefault = true\n')
    assert "index" in gather(root).inert
    assert "index" not in gather(root, environ).inert
    assert gather(root, environ).notes == {}


def test_the_sites_configuration_is_the_weaker(root: Path) -> None:
    for folder, mode in (("xdg", "copy"), ("home/.config", "hardlink")):
        (root / folder / "uv").mkdir(parents=True)
        (root / folder / "uv" / "uv.toml").write_text(f'link-mode = "{mode}"\nno-cache = true\n')
    assert gather(root).inert == {"link-mode": "hardlink", "no-cache": True}
    assert gather(root, {"UV_NO_SYSTEM_CONFIG": "1", "HOME": "/nowhere"}).inert == {}


SECRETS = {
    "UV_INDEX_URL": "https://me:s3cret@x.org/simple",
    "UV_FIND_LINKS": "https://s3cret@x.org/links,https://x.org/other?token=s3cret",
    "UV_INDEX": "torch=https://me:s3cret@x.org/torch",
    "UV_INDEX_TORCH_PASSWORD": "s3cret",
    "UV_AUTH_TOKEN": "s3cret",
    "UV_PYTHON_INSTALL_MIRROR": "https://me:s3cret@x.org/python",
    "UV_SOMETHING_NEW": "https://me:s3cret@x.org/new",
    "UV_SOMETHING_OLD": "a=https://s3cret@x.org/1,b=https://x.org/2?token=s3cret",
}


def test_secrets_reach_uv_and_nothing_else(root: Path) -> None:
    (root / "uv.toml").write_text('[[index]]\nname = "own"\nurl = "https://me:s3cret@own.org/simple"\n')
    found = gather(root, SECRETS)
    payload = make_payload(Metadata(None, ("alpha",), {}, Block(b"", 1)), str(root), None, found)
    inputs = build_inputs(payload, found)
    for text in (payload.text, repr(payload), repr(found), repr(inputs), str(found.notes), inputs.script):
        assert "s3cret" not in text
    for name, value in SECRETS.items():
        assert inputs.variables[name] == value
    assert "https://me:s3cret@own.org/simple" in inputs.config
    assert {"s3cret", "me:s3cret"} <= set(inputs.secrets)


def test_secrets_of_proxies_are_known_to_the_log(root: Path) -> None:
    (root / "uv.toml").write_text('https-proxy = "http://me:t0ken@proxy.org"\n')
    found = gather(root, {"HTTP_PROXY": "http://me:s3cret@proxy.org"})
    assert {"t0ken", "s3cret"} <= set(found.secrets)


def test_a_rotated_token_is_the_same_key(root: Path) -> None:
    later = {name: value.replace("s3cret", "n3wer") for name, value in SECRETS.items()}
    assert key(gather(root, SECRETS)) == key(gather(root, later))


def test_the_platform_is_this_one() -> None:
    system, machine, *libc = platform_tag().split("-")
    assert (system, machine) == (os.uname().sysname.lower(), os.uname().machine)
    assert libc in (["gnu"], ["musl"], [])


def test_a_python_named_by_a_path_starts_where_it_was_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".python-version").write_text("./bin/python\n")
    (root / "case1").mkdir()
    monkeypatch.chdir(root / "case1")
    assert gather(root).python == str(root / "bin/python")
    assert gather(root, python="./bin/python").python == str(root / "case1/bin/python")
    assert gather(root, python=".venv").python == str(root / "case1/.venv")
    assert gather(root, python="/opt/python").python == "/opt/python"


def test_bytes_that_are_no_text_are_an_error(root: Path) -> None:
    with pytest.raises(SharedenvError, match="UV_FIND_LINKS"):
        gather(root, {"UV_FIND_LINKS": "/x\udcff"})
    with pytest.raises(SharedenvError, match="can't use the Python"):
        gather(root, python="/x\udcff")


def uv_says(folder: Path, environ: Mapping[str, str], name: str, text: str) -> str:
    """What uv says on stderr of a script beside which this file stands."""
    (folder / "s.py").write_text("# /// script\n# dependencies = []\n# ///\n")
    (folder / name).write_text(text)
    argv = [shutil.which("uv") or "uv", "sync", "--dry-run", "--script", "s.py"]
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False).stderr


def test_the_tables_hold_every_option_that_this_uv_knows(tmp_path: Path, offline_env: dict[str, str]) -> None:
    """A later uv with a new option fails here: decide whether it can change what is installed."""
    said = uv_says(tmp_path, offline_env, "uv.toml", "no-such-option = 1\n")
    known = set(re.findall(r"`([a-z-]+)`", said.partition("expected one of")[2]))
    assert {"resolution", "index", "link-mode"} <= known
    assert known - tool_uv.COUNTED.keys() - tool_uv.INERT.keys() - tool_uv.NOT_FOR_SCRIPTS - config.MIRRORS == set()


def test_the_tables_hold_every_variable_that_this_uv_knows() -> None:
    """A later uv with a new variable fails here, too.

    Its names stand in its program one behind the other, each with at most a letter of something else behind it.
    """
    said = re.findall(rb"UV_[A-Z0-9_]{2,}", Path(find_uv_bin()).read_bytes())
    names = {name for text in said for name in re.split("(?=UV_)", text.decode()) if name}
    known = [table for tables in vars(uv_variables).values() if isinstance(tables, frozenset | dict | tuple) for table in tables]
    strange = {name for name in names if uv_variables.role(name) == "counted" and not name.startswith(tuple(known))}
    assert {name for name in strange if not any(word.startswith(name[:-1]) for word in known)} == set()
    assert {name for name in known if any(found.startswith(name) for found in names)} >= {"UV_INDEX", "UV_TORCH_BACKEND"}


@pytest.mark.parametrize("table", [OPTIONS, INERT], ids=["counted", "inert"])
def test_uv_takes_each_of_our_options_in_a_script(tmp_path: Path, offline_env: dict[str, str], table: dict[str, object]) -> None:
    lines = toml_text({name: value for name, value in table.items() if name != "preview"}).splitlines()
    block = "".join(f"# {line}\n" for line in ["/// script", "dependencies = []", "[tool.uv]", *lines, "///"])
    assert "TOML parse error" not in uv_says(tmp_path, offline_env, "s.py", block)
    assert "TOML parse error" in uv_says(tmp_path, offline_env, "s.py", block.replace("[tool.uv]\n", "[tool.uv]\n# no-such = 1\n"))
