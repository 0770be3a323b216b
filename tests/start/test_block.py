"""The raw block: PEP 723's sentences as properties, uv's verdicts on the odd cases, and the line each error names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sharedenv.start.block import Block, BlockError, find_block

GOOD = b'# /// script\n# dependencies = ["alpha"]\n# ///\n'
CONTENT = b'dependencies = ["alpha"]\n'

#: the canonical expression of PEP 723, as the standard gives it
REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

toml_line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)
content_lines = st.lists(toml_line.filter(lambda line: not line.startswith("///")), max_size=8)
code_line = toml_line.filter(lambda line: not line.startswith("#") and "# /// script" not in line)
code = st.lists(code_line, max_size=6).map(lambda lines: "".join(line + "\n" for line in lines))


def script_of(lines: list[str], before: str = "", after: str = "", end: str = "\n") -> bytes:
    """A script with these lines in its block; an empty line is a bare `#`."""
    block = ["# /// script", *(f"# {line}" if line else "#" for line in lines), "# ///", ""]
    return (before + end.join(block) + after).encode()


def found(data: bytes) -> Block:
    """The block, which must be there."""
    block = find_block(data)
    assert block is not None
    return block


@given(content_lines, code, code)
def test_the_embedded_content_is_formed_by_taking_away_the_first_two_characters_of_each_line(
    lines: list[str], before: str, after: str
) -> None:
    """PEP 723: the first two characters if the second one is a space, otherwise just the first character."""
    block = found(script_of(lines, before, after))
    assert block.content.decode() == "\n".join(lines) + "\n"
    assert block.line == before.count("\n") + 2


@given(content_lines, code, code)
def test_unix_and_windows_line_ends_make_the_same_block(lines: list[str], before: str, after: str) -> None:
    """Copies that went through a Windows editor need the same environment."""
    assert found(script_of(lines, before, after, end="\r\n")).content == found(script_of(lines, before, after)).content


@given(st.lists(st.sampled_from(["# /// script", "# ///", "#", "# a = 1", "", "x = 1", "# /// other"]), max_size=12))
@example(["# /// script", "# /// script", "# ///", "", "# /// script", "# ///"])
def test_what_the_reference_expression_takes_is_taken_alike(lines: list[str]) -> None:
    """PEP 723's expression and uv differ only on blocks inside or beside other blocks: there, uv decides."""
    text = "\n".join(lines) + "\n"
    matches = [match for match in REFERENCE.finditer(text) if match["type"] == "script"]
    if len(re.findall(r"(?m)^# /// script\n(?:#(?: .*)?\n)*?# ///$", text)) > 1:
        return  # uv refuses an empty second one, too, which the expression doesn't see
    first = text.find("# /// script\n")
    if "# /// other" in lines or len(matches) != 1 or matches[0].start() != first:
        return
    inside = matches[0]["content"].splitlines(keepends=True)
    content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in inside)
    assert found(text.encode()).content.decode().rstrip("\n") == content.rstrip("\n")


@given(st.binary(max_size=200), st.integers(0, 4))
def test_any_bytes_give_a_block_none_or_the_documented_error(noise: bytes, where: int) -> None:
    """No input makes the reader fail in another way, and the line it names is one of the file's."""
    position = len(noise) * where // 4
    data = noise[:position] + GOOD[: 7 * where] + noise[position:] + GOOD[7 * where :]
    try:
        find_block(data)
    except BlockError as error:
        assert 1 <= error.line <= data.count(b"\n") + data.count(b"\r") + 1


@pytest.mark.parametrize(
    "data",
    [
        b"#!/usr/bin/env python\n" + GOOD,
        b'"""\n' + GOOD + b'"""\n',  # in a string: the reader doesn't parse Python, nor does the standard
        b"# a larger comment\n# before\n" + GOOD,
        GOOD + b"# a larger comment\n#\n# behind\n",
        GOOD + b"#no space\n",
        GOOD.rstrip(b"\n"),
        b"x = 1\r" + GOOD,
        b"\xef\xbb\xbf\n" + GOOD,
        b"# /// other\n" + GOOD,
        GOOD + b"\n# /// script\n# a = 1\nprint()\n",  # a second one that is never closed is a comment
        GOOD + b"\n# /// other\n# /// script\n# a = 1\n# ///\n",  # the content of another block
        GOOD + b"\nif 1:\n    # /// script\n    # a = 1\n    # ///\n",
    ],
)
def test_taken(data: bytes) -> None:
    assert found(data).content == CONTENT


@pytest.mark.parametrize(
    "data", [b"", b"print()\n", b"#///script\n# ///\n", b"# /// scripts\n# ///\n", b'x = "# /// script"\n']
)
def test_no_block(data: bytes) -> None:
    assert find_block(data) is None


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"x = 1\n# /// script\n# a = 1\nprint()\n", 2, "never closed"),
        (b"print()\n# /// script", 2, "never closed"),
        (b"# /// script\n# a = 1\n\n# ///\n", 3, "breaks the block off"),
        (b"# /// script\n#a = 1\n# ///\n", 2, "breaks the block off"),
        (b"# /// script\n#\ta = 1\n# ///\n", 2, "breaks the block off"),
        (b"# /// script\n# a = 1\n# /// end\n", 3, "closing line"),
        (b"# /// script\n# a = 1\n# /// \nprint()\n", 3, "closing line"),
        (b"# /// script\n# a = 1\n# ///\r", 3, "closing line"),
        (b"# /// script \n# a = 1\n# ///\n", 1, "white space follows"),
        (b"# /// script # mine\n# a = 1\n# ///\n", 1, "opening line"),
        (b"def f():\n    # /// script\n    # ///\n", 2, "indented"),
        (b"\xef\xbb\xbf" + GOOD, 1, "byte order mark"),
        (b'x = "# /// script"\n' + GOOD, 1, "occurs here before"),
        (b"# /// scripts\n# ///\n\n" + GOOD, 1, "occurs here before"),
        (GOOD + b"\n" + GOOD, 5, "a second"),
        (GOOD + b"\n# /// script\n# ///\n", 5, "a second"),
        (b"\r\n" + GOOD + b"x = 1\r\n\n" + GOOD, 7, "a second"),
        (b"# \xff\n" + GOOD, 1, "UTF-8"),
        (GOOD + b"x = '\xe9'\n", 4, "UTF-8"),
        (GOOD.replace(b"alpha", b"\xe9"), 2, "UTF-8"),
        (GOOD.replace(b"\n", b"\r"), 1, "opening line"),
    ],
)
def test_refused_with_its_line(data: bytes, line: int, words: str) -> None:
    with pytest.raises(BlockError, match=words) as caught:
        find_block(data)
    assert caught.value.line == line


def test_the_last_closing_line_closes() -> None:
    """PEP 723: when there are several, the last `# ///` of the comment lines is the end."""
    assert found(b"# /// script\n# a = '''\n# ///\n# '''\n# ///\n").content == b"a = '''\n///\n'''\n"


def test_the_reader_imports_nothing() -> None:
    """`exec` pays for each import in each of thousands of starts."""
    root = str(Path(__file__).parent.parent.parent)
    program = (
        f"import sys; sys.path.insert(0, {root!r}); before = set(sys.modules); import sharedenv.start.block;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-ISc", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['sharedenv', 'sharedenv.start', 'sharedenv.start.block']\n"
