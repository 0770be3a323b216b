"""The key: equal meaning, one key; different meaning, different keys."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uv import find_uv_bin

from sharedenv.key.make import admits, make_payload, moves
from sharedenv.key.payload import Payload, payload_from
from sharedenv.key.requirement import RequirementError, leaves_room, parse_requirement, parse_specifiers
from sharedenv.key.settings import Settings
from sharedenv.key.uv_inputs import canonical_script
from sharedenv.script.metadata import Metadata, ScriptError, parse_script
from sharedenv.start.block import Block
from tests.spelling import changed, meaning, random_wish, respelled, spelled

PROJECT = Settings("/project", platform="linux-x86_64-gnu")
ROOT = Path(__file__).parent.parent.parent


def payload(
    *dependencies: str,
    requires: str | None = None,
    uv: Mapping[str, Any] | None = None,
    folder: str = "/project/case1",
    lock: bytes | None = None,
    around: Settings = PROJECT,
) -> Payload:
    """The payload of a script with this metadata."""
    return make_payload(Metadata(requires, dependencies, uv or {}, Block(b"", 1)), folder, lock, around)


randoms = st.randoms(use_true_random=False)
#: the same examples in every run, however busy the machine
steady = settings(derandomize=True, max_examples=150)


@steady
@given(randoms)
def test_reordering_respelling_splitting_and_doubling_do_not_change_the_key(random: Random) -> None:
    wishes = [random_wish(random) for _ in range(random.randrange(5))]
    one = payload(*(spelled(wish, random) for wish in wishes))
    assert payload(*respelled(wishes, random)).key == one.key


@steady
@given(randoms)
def test_a_single_change_changes_the_key_when_it_changes_the_meaning_and_only_then(random: Random) -> None:
    wishes = [random_wish(random) for _ in range(random.randrange(5))]
    other = changed(wishes, random)
    same = payload(*respelled(wishes, random)).key == payload(*respelled(other, random)).key
    assert same == (meaning(wishes) == meaning(other))


@steady
@given(randoms, st.sampled_from([None, ">=3.9,<4", "~=3.11", "==3.12.*,!=3.12.0"]))
def test_payload_to_canonical_script_and_back_is_the_identity(random: Random, requires: str | None) -> None:
    one = payload(*(spelled(random_wish(random), random) for _ in range(random.randrange(5))), requires=requires, uv=OPTIONS)
    text = canonical_script(one, "/project")
    again = make_payload(parse_script(text.encode()), "/some/where/else", None, PROJECT)
    assert again.text == one.text


def test_the_fuzz_run_finds_nothing() -> None:
    """The long run, of a million lists, is `scripts/fuzz_key --count 1000000`."""
    argv = [sys.executable, str(ROOT / "scripts" / "fuzz_key"), "--count", "3000", "--seed", "7"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3,0" in done.stdout
    assert "no surprise" in done.stdout


#: one of every option that counts, as TOML gives it
OPTIONS: dict[str, Any] = {
    "build-constraint-dependencies": ["setuptools<70"],
    "config-settings": {"a": "b", "c": ["d", "e"]},
    "config-settings-package": {"Num_py": {"a": "b"}},
    "constraint-dependencies": ["six<2", "attrs"],
    "dependency-metadata": [{"name": "flask", "version": "1.0", "requires-dist": ["werkzeug"]}],
    "exclude-dependencies": ["Py_Test"],
    "exclude-newer": "2024-01-01T00:00:00Z",
    "exclude-newer-package": {"a.b": "2024-01-01"},
    "extra-build-dependencies": {"pytest": ["setuptools"]},
    "extra-build-variables": {"pytest": {"A": "1"}},
    "extra-index-url": ["https://example.org/simple"],
    "find-links": ["../wheels", "https://example.org/wheels"],
    "fork-strategy": "fewest",
    "index": [{"name": "torch", "url": "https://example.org/torch", "explicit": True}, {"url": "../flat", "format": "flat"}],
    "index-strategy": "unsafe-best-match",
    "index-url": "https://example.org/simple",
    "no-binary": False,
    "no-binary-package": ["b", "a"],
    "no-build": True,
    "no-build-isolation": True,
    "no-build-isolation-package": ["a"],
    "no-build-package": ["a"],
    "no-index": True,
    "no-sources": True,
    "no-sources-package": ["a"],
    "override-dependencies": ["six>1"],
    "prerelease": "allow",
    "prerelease-package": {"a": "allow"},
    "python-preference": "system",
    "require-build-hashes": True,
    "required-version": ">=0.5",
    "resolution": "lowest",
    "sources": {"Num_Py": {"path": "../lib", "editable": True}, "b": [{"git": "https://x.org/b", "marker": "os_name=='nt'"}]},
    "torch-backend": "cpu",
}
INERT: dict[str, Any] = {
    "allow-insecure-host": ["localhost"],
    "cache-dir": "cache",
    "compile-bytecode": True,
    "concurrent-builds": 2,
    "concurrent-downloads": 2,
    "concurrent-installs": 2,
    "http-proxy": "http://proxy",
    "https-proxy": "http://proxy",
    "keyring-provider": "subprocess",
    "link-mode": "copy",
    "native-tls": True,
    "no-cache": True,
    "no-proxy": ["localhost"],
    "offline": True,
    "preview": True,
    "preview-features": ["a"],
    "python-downloads": "never",
    "reinstall": True,
    "reinstall-package": ["a"],
    "system-certs": True,
    "upgrade": True,
    "upgrade-package": ["a"],
}


def test_the_payload_is_as_designed() -> None:
    one = payload("Foo_Bar[b,A]>=1.0", requires=">=3.10, <3.13", lock=b"version = 1\n")
    digest = hashlib.sha256(b"version = 1\n").hexdigest()
    assert one.text == (
        '{"dependencies":["foo-bar[a,b]>=1"],"lock":"sha256:' + digest + '","platform":"linux-x86_64-gnu","python":null,'
        '"requires-python":"<3.13,>=3.10","schema":1,"settings":{},"tool.uv":{}}'
    )
    assert one.key == hashlib.sha256(one.text.encode()).hexdigest()
    assert payload_from(one.document) == one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["Foo_Bar"], ["foo.bar"]),
        (["a[x,Y_z]"], ["a [ y-z , X ]"]),
        (["a>=1,<2"], ["a<2", "a>=1"]),
        (["a>=1.0"], ["a >= 1.0.0"]),
        (["a==1.0"], ["a==1"]),
        (["a!=1.0"], ["a!=1.0.0"]),
        (["a==1.0-1"], ["a==1.0.post1"]),
        (["a==v1.0+Ubuntu_1"], ["a==1+ubuntu.1"]),
        (["a", "a"], ["a"]),
        (["a[x]", "a[y]>1"], ["a[x,y]>1"]),
        (["a;python_version<'3'"], ['a ; (python_version < "3")']),
        (["a @ https://x.org/a.whl ; os_name=='x'"], ['a@https://x.org/a.whl ;os_name == "x"']),
        (["a (>=1)"], ["a>=1"]),
        (["a\n>=1"], ["a>=1"]),
        (["a === 1.0, <2"], ["a<2,===1.0"]),
        (["a ; extra == 'B_c'"], ["a ; extra == 'b-c'"]),
        (["a ; os.name == 'x'"], ["a ; os_name == 'x'"]),
    ],
)
def test_one_meaning_one_key(one: list[str], other: list[str]) -> None:
    assert payload(*one).text == payload(*other).text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["py", "test"], ["pytest"]),
        (["a~=1.0"], ["a~=1.0.0"]),
        (["a==1.*"], ["a==1.0.*"]),
        (["a!=1.*"], ["a!=1.0.*"]),
        (["a===1.0"], ["a===1.0.0"]),
        (["a===1.0"], ["a==1.0"]),
        (["a>1.0"], ["a>=1.0"]),
        (["a"], ["a[x]"]),
        (["a>=1 ; os_name=='x'", "a<2"], ["a>=1,<2"]),
        (["a ; python_version < '3.8'"], ["a ; python_version < '3.80'"]),
        (["a ; platform_machine == 'ARM'"], ["a ; platform_machine == 'arm'"]),
        (["a @ https://x.org/a.whl"], ["a @ https://x.org/a.whl#sha256=00"]),
        (["a @ https://x.org/a.zip#egg=a"], ["a @ https://x.org/a.zip#egg=A"]),
        (["a @ git+https://x.org/a@v1"], ["a @ git+https://x.org/a@v2"]),
        (["a==1!1.0"], ["a==1.0"]),
        (["a==1.0+x"], ["a==1.0"]),
    ],
)
def test_two_meanings_two_keys(one: list[str], other: list[str]) -> None:
    assert payload(*one).key != payload(*other).key


@pytest.mark.parametrize(
    ("one", "other"), [(">=3.8,<4", "<4.0 , >= 3.8.0"), ("", None), (">=3.10,>=3.10.0", ">=3.10"), ("=== 3.11.7", "===3.11.7")]
)
def test_one_requires_python_one_key(one: str | None, other: str | None) -> None:
    assert payload(requires=one).key == payload(requires=other).key


@pytest.mark.parametrize(("one", "other"), [("~=3.11", "~=3.11.0"), ("==3.11.*", "==3.11"), (">=3.8", ">3.8"), (">=3.8", None)])
def test_two_requires_python_two_keys(one: str | None, other: str | None) -> None:
    assert payload(requires=one).key != payload(requires=other).key


@pytest.mark.parametrize(
    "text",
    [
        *("a @ ./folder", "a @ folder", "a @ ../x.whl", "a @ https://x.org/a.whl;os_name=='x'", "a @ ftp://x.org/a.whl"),
        *("a===anything", "a==99999999999999999999", "a ; dependency_groups == 'x'", "a @ file:///${PROJECT_ROOT}/a.whl"),
        *("", "-e ../a", "a>=1.0.*", "a~=1", "a=1", "a>=1 <2", "a # why", "a;", "é", "x1-_", "a[x", "a==1.0 --hash=sha256:00"),
        "a ; " + "(" * 3000 + "os_name=='x'" + ")" * 3000,
    ],
)
def test_what_uv_refuses_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ScriptError) as caught:
        payload("fine", text)
    assert caught.value.field == "dependencies[1]"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["3.8", ">=3.8.*", "~=3", ">=3.8,", ",>=3", ">=3,,<4", ">=3.8 <4", "*", "^3.8", ">=3.8+x"])
def test_a_bad_requires_python_is_refused(text: str) -> None:
    with pytest.raises(ScriptError) as caught:
        payload(requires=text)
    assert caught.value.field == "requires-python"


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_each_option_that_counts_changes_the_key(name: str) -> None:
    assert payload(uv={name: OPTIONS[name]}).key != payload().key


@pytest.mark.parametrize("name", sorted(INERT))
def test_each_inert_option_leaves_the_key_alone(name: str) -> None:
    assert payload(uv={name: INERT[name]}).key == payload().key


def test_the_two_lists_of_options_are_all_there_are() -> None:
    from sharedenv.key import tool_uv

    assert OPTIONS.keys() == tool_uv.COUNTED.keys()
    assert INERT.keys() == tool_uv.INERT.keys()


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("constraint-dependencies", ["A_b>=1.0", "c"], ["c", "a-b >= 1"]),
        ("override-dependencies", ["a", "a>1"], ["a>1.0"]),
        ("no-binary-package", ["B_c", "a"], ["a", "b-c", "a"]),
        ("no-binary-package", [], None),
        ("index", [{"url": "https://x.org/s"}], [{"url": "https://x.org/s", "default": False, "format": "simple"}]),
        ("index", [{"url": "https://x.org/s"}], [{"url": "https://x.org/s", "publish-url": "https://x.org/up"}]),
        ("sources", {"A_b": {"path": "lib"}}, {"a-b": [{"path": "./x/../lib"}]}),
        ("sources", {"a": {"git": "git+https://x.org/a"}}, {"a": {"git": "https://x.org/a"}}),
        ("find-links", ["../wheels"], ["/project/wheels"]),
        ("index-strategy", "unsafe-any-match", "unsafe-first-match"),
        ("exclude-newer-package", {"A_b": "2024-01-01"}, {"a-b": "2024-01-01"}),
        ("extra-build-dependencies", {"A": ["c", "B>=1.0"]}, {"a": ["b >= 1", "C"]}),
        ("dependency-metadata", [{"name": "A", "requires-dist": ["c", "b"]}], [{"name": "a", "requires-dist": ["B", "c"]}]),
        ("exclude-dependencies", [{"package": {"name": "A"}, "dependencies": ["c", "B"]}], [{"package": {"name": "a"}, "dependencies": ["b", "c"]}]),
    ],
)
def test_one_option_written_in_two_ways_is_one_key(name: str, one: Any, other: Any) -> None:
    assert payload(uv={name: one}).text == payload(uv={} if other is None else {name: other}).text


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("index", [{"url": "https://x.org/a"}, {"url": "https://x.org/b"}], [{"url": "https://x.org/b"}, {"url": "https://x.org/a"}]),
        ("find-links", ["https://x.org/a", "https://x.org/b"], ["https://x.org/b", "https://x.org/a"]),
        ("sources", {"a": {"path": "lib"}}, {"a": {"path": "lib", "editable": True}}),
        ("exclude-newer", "2024-01-01", False),
        ("exclude-newer", "2024-01-01", "2024-01-01T00:00:00Z"),
        ("no-build", False, True),
        ("config-settings", {"a": "b"}, {"a": ["b"]}),
        ("sources", {"a": {"path": "lib"}}, {"b": {"path": "lib"}}),
        ("sources", {"a": {"git": "https://x.org/a", "path": "w.whl"}}, {"a": {"git": "https://x.org/a", "path": "./w.whl"}}),
        ("override-dependencies", ["a"], [{"package": {"name": "b"}, "dependencies": ["a"]}]),
        ("extra-build-dependencies", {"a": ["b"]}, {"a": [{"requirement": "b", "match-runtime": True}]}),
    ],
)
def test_order_and_values_that_mean_something_count(name: str, one: Any, other: Any) -> None:
    assert payload(uv={name: one}).key != payload(uv={name: other}).key


@pytest.mark.parametrize(
    "options",
    [
        {"workspace": {}},
        {"pip": {}},
        {"no-build": "yes"},
        {"find-links": "wheels"},
        {"resolution": "best"},
        {"index": {"url": "https://x.org"}},
        {"index": [{"name": "x"}]},
        {"sources": {"a": {}}},
        {"sources": {"a": []}},
        {"sources": {"a": {"path": "x", "foo": 1}}},
        {"no-build-package": ["a b"]},
        {"link-mode": "foo"},
        {"concurrent-builds": 0},
        {"constraint-dependencies": ["a>=1.*"]},
    ],
)
def test_options_that_uv_refuses_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ScriptError) as caught:
        payload(uv=options)
    assert caught.value.field == f"tool.uv.{next(iter(options))}"


def test_the_same_bytes_in_two_folders_that_mean_two_things_are_two_keys() -> None:
    for option in ({"sources": {"a": {"path": "lib"}}}, {"find-links": ["wheels"]}, {"index": [{"url": "./index"}]}):
        assert payload(uv=option, folder="/project/one").key != payload(uv=option, folder="/project/two").key


def test_two_scripts_that_reach_the_same_target_are_one_key() -> None:
    near = payload(uv={"sources": {"a": {"path": "../lib"}}}, folder="/project/one")
    far = payload(uv={"sources": {"a": {"path": "../../lib"}}}, folder="/project/two/deep")
    assert near.key == far.key == payload(uv={"sources": {"a": {"path": "/project/lib"}}}).key


def test_a_moved_project_keeps_its_keys() -> None:
    option = {"sources": {"a": {"path": "../lib"}}, "find-links": ["."]}
    moved = Settings("/elsewhere/moved", platform="linux-x86_64-gnu")
    assert payload(uv=option).key == payload(uv=option, folder="/elsewhere/moved/case1", around=moved).key
    outside = {"sources": {"a": {"path": "../../lib"}}}
    assert payload(uv=outside).document["tool.uv"]["sources"]["a"] == [{"path": "/lib"}]


def test_the_lock_file_is_in_the_key() -> None:
    keys = {payload(lock=lock).key for lock in (None, b"", b"version = 1\n")}
    assert len(keys) == 3


LOCK = b'[[package]]\nname = "a"\nversion = "1"\nsource = { registry = "../wheels" }\nwheels = [\n    { path = "a-1.whl" },\n]\n'


def test_a_lock_that_names_places_is_bound_to_them() -> None:
    beside = payload(lock=LOCK, folder="/project/one")
    assert beside.document["lock-places"] == ["./wheels"]
    assert beside.key == payload(lock=LOCK, folder="/project/two").key
    assert beside.key != payload(lock=LOCK, folder="/project/two/deep").key
    elsewhere = LOCK.replace(b"../wheels", b"https://x.org/simple")
    assert payload(lock=elsewhere, folder="/a").key == payload(lock=elsewhere, folder="/b").key


def test_python_settings_and_platform_are_in_the_key() -> None:
    around = [
        PROJECT,
        Settings("/project", python="3.12", platform="linux-x86_64-gnu"),
        Settings("/project", platform="linux-x86_64-musl"),
        Settings("/project", platform="linux-x86_64-gnu", counted={"UV_PRERELEASE": "allow"}),
    ]
    assert len({payload("a", around=one).key for one in around}) == 4


@pytest.mark.parametrize(
    ("dependencies", "uv", "expected"),
    [
        ((), {"sources": {"a": {"path": "lib"}}}, True),
        ((), {"sources": {"a": {"git": "https://x.org/a", "branch": "main"}}}, True),
        ((), {"sources": {"a": {"git": "https://x.org/a", "rev": "a" * 40}}}, False),
        ((), {"sources": {"a": {"index": "torch"}}}, False),
        (("a @ git+https://x.org/a",), {}, True),
        (("a @ git+https://x.org/a@" + "0" * 40,), {}, False),
        (("a @ file:///lib/a",), {}, True),
        (("a @ https://x.org/a.whl",), {}, False),
        (("a>=1",), {}, False),
    ],
)
def test_sources_that_can_change_under_one_key_are_known(dependencies: tuple[str, ...], uv: dict[str, Any], expected: bool) -> None:
    assert moves(payload(*dependencies, uv=uv)) is expected


@pytest.mark.parametrize(
    ("requires", "version", "expected"),
    [
        ("", "3.8.1", True),
        ("<=3.10,>=3.10", "3.10.4", False),
        ("<=3.10,>=3.10", "3.10.0", True),
        (">=3.14", "3.14.0rc1", True),
        ("==3.11.*", "3.11.7", True),
        ("<3.14", "3.14.0rc1", False),
    ],
)
def test_which_python_a_requires_python_admits(requires: str, version: str, expected: bool) -> None:
    assert admits(requires, version) is expected


def test_a_version_file_yields_to_a_script_that_leaves_no_room_for_it() -> None:
    by_file, asked = (Settings("/project", python="3.10", pinned=pinned) for pinned in (True, False))
    assert payload(requires=">=3.11", around=by_file) == payload(requires=">=3.11", around=Settings("/project"))
    assert payload(requires=">=3.10", around=by_file).document["python"] == "3.10"
    assert payload(around=by_file).document["python"] == "3.10"
    assert payload(requires=">=3.11", around=asked).document["python"] == "3.10"


@pytest.mark.parametrize(
    ("requires", "request_"),
    [
        (">=3.11", "3.10"),
        (">=3.11", "3.11"),
        (">=3.11,<3.13", "3.13"),
        ("~=3.11", "cpython@3.10"),
        (">=3.11", "CPython3.10"),
        ("!=3.10.*", "python3.10"),
        (">3.10", "3.10"),
        ("<=3.10", "3.10"),
        ("==3.10.12", "3.10.13"),
        (">=3.10.13", "3.10.13"),
        (">=3.11", "3"),
        (">=3.11", "pypy"),
        (">=3.11", "/nowhere"),
    ],
)
def test_which_version_files_uv_passes_over(tmp_path: Path, offline_env: dict[str, str], requires: str, request_: str) -> None:
    (tmp_path / ".python-version").write_text(request_ + "\n")
    (tmp_path / "s.py").write_text(f'# /// script\n# requires-python = "{requires}"\n# dependencies = []\n# ///\n')
    argv = [find_uv_bin(), "sync", "--dry-run", "--verbose", "--script", "s.py"]
    said = subprocess.run(argv, cwd=tmp_path, env=offline_env, capture_output=True, text=True, check=False).stderr
    found = re.search(r"Using Python request `.*` from (version file|`requires-python`)", said)
    assert found, said
    assert leaves_room(parse_specifiers(requires), request_) is (found[1] == "version file")


def test_the_normal_form_is_its_own_normal_form() -> None:
    for text in ("A_b[Y,x]>=1.0,<2 ; python_version<'3'", "a===1.0", "a @ https://x.org/a.whl#sha256=0 ; os_name=='a\"b'"):
        normal = parse_requirement(text).text()
        assert parse_requirement(normal).text() == normal
    assert parse_specifiers(parse_specifiers(" ~=3.11 , !=3.11.0 ")) == "!=3.11,~=3.11"
    with pytest.raises(RequirementError):
        parse_specifiers("3")


def test_a_payload_is_one_line_of_json_with_sorted_names() -> None:
    text = payload("é @ https://x.org/é.whl".replace("é @", "e @"), uv=OPTIONS).text
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


json_values = st.recursive(
    st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@steady
@given(
    st.dictionaries(st.text(), st.text() | st.lists(st.text(), max_size=3), max_size=3),
    json_values,
    st.lists(st.text(st.characters(categories=("L", "N")), min_size=1), max_size=3),
)
def test_values_of_any_kind_survive_the_canonical_script(texts: dict[str, Any], value: Any, places: list[str]) -> None:
    index = [{"url": "https://x.org", "a-field-of-tomorrow": value}]
    one = payload(uv={"config-settings": texts, "index": index, "find-links": places})
    again = make_payload(parse_script(canonical_script(one, "/project").encode()), "/some/where/else", None, PROJECT)
    assert again.text == one.text


def test_a_path_that_uv_cannot_have_is_refused() -> None:
    with pytest.raises(ScriptError, match="not UTF-8"):
        payload(uv={"sources": {"a": {"path": "lib"}}}, folder="/project/case\udcff")
    assert payload("a", folder="/project/case\udcff") == payload("a")
    with pytest.raises(ScriptError, match="not UTF-8"):
        payload(lock=LOCK.replace(b"../wheels", b"wheels"), folder="/project/case\udcff")
