"""The fields of a block: what is taken as uv takes it, and the line and field of what is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.script.locate import line_of
from sharedenv.script.metadata import Metadata, ScriptError, field_line, parse_script, read_block


def script(toml: str, before: str = "") -> bytes:
    """A script with this TOML in its block, which starts behind the lines of ``before``."""
    lines = [f"# {line}" if line else "#" for line in toml.split("\n")]
    return (before + "\n".join(["# /// script", *lines, "# ///", ""])).encode()


def refused(data: bytes) -> ScriptError:
    """The error of a script that must be refused."""
    with pytest.raises(ScriptError) as caught:
        parse_script(data)
    return caught.value


def parsed(toml: str) -> Metadata:
    """The metadata of a block with this TOML."""
    return parse_script(script(toml))


def test_the_strings_are_the_users() -> None:
    toml = 'requires-python = " >=3.10"\ndependencies = ["NumPy >= 1", "numpy"]\n[tool.uv]\nprerelease = "allow"'
    metadata = parsed(toml)
    assert metadata.requires_python == " >=3.10"
    assert metadata.dependencies == ("NumPy >= 1", "numpy")
    assert metadata.uv == {"prerelease": "allow"}


def test_an_empty_block_asks_for_nothing() -> None:
    metadata = parsed("")
    assert (metadata.requires_python, metadata.dependencies, metadata.uv) == (None, (), {})


@pytest.mark.parametrize("toml", ["x = 3", "requires_python = 3", "[project]\ndependencies = 3", "[tool]\nblack = 3"])
def test_what_uv_ignores_is_ignored(toml: str) -> None:
    assert parsed(toml).dependencies == ()


@pytest.mark.parametrize(
    "toml", ["a = {b = 1,\n c = 2,}", 'a = "\\e\\x41"', "a = 07:32", "\ufeffa = 1", "a = 99999999999999999999"]
)
def test_toml_1_1_as_uv_reads_it(toml: str) -> None:
    assert parsed(toml).dependencies == ()


@pytest.mark.parametrize(
    ("toml", "line", "field"),
    [
        ("requires-python = 3.11", 4, "requires-python"),
        ("a = 1\n\nrequires-python = ['>=3']", 6, "requires-python"),
        ("dependencies = 'numpy'", 4, "dependencies"),
        ("a = 1\n[dependencies]\nnumpy = 1", 5, "dependencies"),
        ("dependencies = ['a', 3]", 4, "dependencies[1]"),
        ("dependencies = [\n  'a',  # [1], the first\n\n  '''b\nc''', 'd',\n  3,\n]", 9, "dependencies[3]"),
        ("dependencies = [\n  ['x', 'y'],\n  'z']", 5, "dependencies[0]"),
        ("tool = 3", 4, "tool"),
        ("a = 1\n[[tool.uv]]\nb = 1", 5, "tool.uv"),
        ("[tool]\nuv = 'x'", 5, "tool.uv"),
    ],
)
def test_a_wrong_type_is_named_with_line_and_field(toml: str, line: int, field: str) -> None:
    error = refused(script(toml, "#!/usr/bin/env python\n\n"))
    assert (error.line, error.field) == (line, field)
    assert error.message.startswith(field)


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("a = 1\na = 2", 3),
        ("a = 1\nb = [1 2]", 3),
        ("a = 1\nb = [\n", 5),
        ("x = ", 2),
        ("a = 'x\ry'", 2),
        ("a = 2024-02-30", 2),
    ],
)
def test_broken_toml_is_named_with_its_line(toml: str, line: int) -> None:
    error = refused(script(toml))
    assert "not valid TOML" in error.message
    assert error.line == line


@pytest.mark.parametrize(
    "value", ["1e999", "1" * 5000, "0x" + "f" * 5000, "[" * 100 + "]" * 100, "[" * 10**5, "{a=" * 10**4]
)
def test_what_no_reader_can_hold_is_refused(value: str) -> None:
    assert "not valid TOML" in refused(script(f"a = {value}")).message


def test_two_blocks_without_an_empty_line_between() -> None:
    error = refused(script("a = 1") + script("b = 1"))
    assert error.line == 3
    assert "empty line" in error.message


@pytest.mark.parametrize("opening", ["#/// script", "#  ///  script", "# /// Script ", "# ///script"])
def test_an_opening_line_that_is_nearly_one(opening: str) -> None:
    error = refused(f"import os\n{opening}\n# dependencies = []\n# ///\n".encode())
    assert (error.line, error.message) == (2, f"the opening line must be `# /// script`, not `{opening.strip()}`")


def test_no_block() -> None:
    error = refused(b"print()\n")
    assert (error.line, error.message) == (None, "no `# /// script` block in it")


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("requires-python", 4),
        ("dependencies", 5),
        ("dependencies[0]", 6),
        ("dependencies[2]", 7),
        ("dependencies[3]", 9),
        ("dependencies[9]", 5),
        ("tool.uv", 11),
        ("tool.uv.prerelease", 12),
        ("tool.uv.sources", 13),
        ("tool.uv.sources.numpy", 14),
        ("tool.uv.sources.numpy.path", 14),
        ("tool.uv.index[1]", 17),
        ("tool.uv.index[1].url", 18),
        ("tool.uv.constraint-dependencies[0]", 11),
        ("nowhere", 2),
    ],
)
def test_where_a_field_stands(field: str, line: int) -> None:
    toml = """\
# dependencies = ["not", "these"]
requires-python = ">=3.10"
"dependencies" = [
  "a[b]", # "x"
  "b", \"\"\"
  c\"\"\",
  'd']

[tool.uv]
prerelease = "allow"
[tool.uv.sources]
numpy = {path = "x", editable = true}
[[tool.uv.index]]
url = "https://one.example"
[[tool.uv.index]]
url = "https://two.example\""""
    assert field_line(read_block(script(toml, "import os\n")), field) == line


names = st.text("ab-_", min_size=1, max_size=4)
scalars = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.integers(-9, 9), st.booleans())
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@given(st.dictionaries(names, values, max_size=4), st.lists(scalars, min_size=1, max_size=4))
def test_an_entry_is_found_wherever_it_stands(others: dict[str, object], entries: list[object]) -> None:
    """Whatever strings surround it, an entry's line is the one that it was written in."""
    others.pop("a-b", None)
    head = "".join(f"{name} = {json.dumps(value)}\n" for name, value in others.items()).replace("\x7f", "\\u007f")
    text = head + "a-b = [\n" + "".join(f"  {json.dumps(entry)}, # ]\n" for entry in entries) + "]\n"
    first = len(others) + 1
    assert [line_of(text, f"a-b[{index}]") for index in range(len(entries))] == list(range(first, first + len(entries)))
