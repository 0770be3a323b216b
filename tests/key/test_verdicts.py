"""Our verdict on a script is uv's: what `uv sync --dry-run --script` refuses we refuse, what it takes we take.

The cases are data: add to the lists what you wonder about, the real uv answers. Where we differ on purpose, the case
stands in DIFFERENT with its cause, and the test fails as soon as it no longer differs.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from uv import find_uv_bin

from sharedenv.key.make import make_payload
from sharedenv.key.settings import Settings
from sharedenv.script.metadata import ScriptError, parse_script
from tests.verdict_cases import OPTIONS, REQUIREMENTS, SPECIFIERS

BLOCK = b'# /// script\n# dependencies = ["alpha"]\n# ///\n'

#: whole files
FILES: dict[str, bytes] = {
    "plain": BLOCK,
    "empty file": b"",
    "no block": b"print()\n",
    "shebang": b"#!/usr/bin/env python\n" + BLOCK,
    "in a docstring": b'"""\n' + BLOCK + b'"""\n',
    "comment before": b"# one\n# two\n" + BLOCK,
    "comment behind": BLOCK + b"#\n# more\n#no space\n",
    "no space behind": BLOCK + b"#no space\n",
    "no newline at the end": BLOCK[:-1],
    "empty block": b"# /// script\n# ///\n",
    "block of bare marks": b"# /// script\n#\n#\n# ///\n",
    "unclosed": b'# /// script\n# dependencies = ["alpha"]\nprint()\n',
    "opening line ends the file": b"print()\n# /// script",
    "empty line inside": b'# /// script\n# dependencies = ["alpha"]\n\n# ///\n',
    "no space inside": b'# /// script\n#dependencies = ["alpha"]\n# ///\n',
    "tab for the space": b'# /// script\n#\tdependencies = ["alpha"]\n# ///\n',
    "tab behind the space": b'# /// script\n# \tdependencies = ["alpha"]\n# ///\n',
    "text behind the closing line": BLOCK[:-1] + b" end\n",
    "space behind the closing line": BLOCK[:-1] + b" \n",
    "four slashes to close": BLOCK[:-1] + b"/\n",
    "no space in the closing line": BLOCK[:-6] + b"#///\n",
    "space behind the opening line": BLOCK.replace(b"script\n", b"script \n"),
    "text behind the opening line": BLOCK.replace(b"script\n", b"script x\n"),
    "other type": BLOCK.replace(b"script", b"scripts"),
    "upper case": BLOCK.replace(b"script", b"SCRIPT"),
    "other type before": b"# /// scripts\n# x\n# ///\n\n" + BLOCK,
    "another block before": b"# /// other\n# x\n# ///\n\n" + BLOCK,
    "inside another block": b"# /// other\n" + BLOCK,
    "mention before": b'x = "# /// script"\n' + BLOCK,
    "space behind the first opening line": b"# /// script \n# x = 1\n# ///\n\n" + BLOCK,
    "indented": b"if 1:\n    # /// script\n    # ///\n",
    "indented before": b"if 1:\n    # /// script\n    # ///\n" + BLOCK,
    "two marks": b"#" + BLOCK,
    "form feed before": b"\x0c" + BLOCK,
    "two": BLOCK + b"\n" + BLOCK,
    "two without a gap": BLOCK + BLOCK,
    "two, a mark between": BLOCK + b"#\n" + BLOCK,
    "two, no space between": BLOCK + b"#x\n" + BLOCK,
    "two, windows": (BLOCK + b"\n" + BLOCK).replace(b"\n", b"\r\n"),
    "two, the last end a lone cr": BLOCK + b"\n" + BLOCK[:-1] + b"\r",
    "two, no newline at the end": BLOCK + b"\n" + BLOCK[:-1],
    "second unclosed": BLOCK + b"\n# /// script\n# x = 1\nprint()\n",
    "second with text behind": BLOCK + b"\n# /// script\n# x = 1\n# /// x\n",
    "second closed twice": BLOCK + b"\n# /// script\n# x = 1\n# ///\n# more\nprint()\n",
    "second indented": BLOCK + b"\nif 1:\n    # /// script\n    # ///\n",
    "second inside another block": BLOCK + b"\n# /// other\n# /// script\n# ///\n",
    "second behind another block": BLOCK + b"\n# /// other\n# ///\n\n" + BLOCK,
    "second behind an open block": BLOCK + b"\n# /// other\nx\n" + BLOCK,
    "second in a string": BLOCK + b'x = """\n' + BLOCK + b'"""\n',
    "closed twice": BLOCK + b"#\n# ///\n",
    "closing line in a string": b"# /// script\n# x = '''\n# ///\n# '''\n# ///\n",
    "windows": BLOCK.replace(b"\n", b"\r\n"),
    "windows in part": BLOCK.replace(b"\n", b"\r\n", 1),
    "old macintosh": BLOCK.replace(b"\n", b"\r"),
    "cr before": b"x = 1\r" + BLOCK,
    "two cr": BLOCK.replace(b"\n", b"\r\r\n"),
    "cr in toml": BLOCK.replace(b"[", b"[\r"),
    "cr at the end": BLOCK[:-1] + b"\r",
    "byte order mark": b"\xef\xbb\xbf" + BLOCK,
    "byte order mark, line": b"\xef\xbb\xbf\n" + BLOCK,
    "latin-1 before": b"# \xe9\n" + BLOCK,
    "latin-1 inside": BLOCK.replace(b"]", b"] # \xe9"),
    "latin-1 behind": BLOCK + b"# \xe9\n",
    "surrogate behind": BLOCK + b"# \xed\xa0\x80\n",
    "nul inside": BLOCK.replace(b"]", b"] # \0"),
    "nul behind": BLOCK + b"\0",
    "next line mark": BLOCK.replace(b"]", "] # \x85".encode()),
    "line separator": BLOCK.replace(b"]", "] # \u2028 x".encode()),
}

#: TOML inside a block
BLOCKS: list[str] = [
    'dependencies = "alpha"',
    'dependencies = ["alpha", 3]',
    'dependencies = [["alpha"]]',
    'dependencies = [{name = "alpha"}]',
    'dependencies = {name = "alpha"}',
    'dependencies.name = "alpha"',
    '[dependencies]\nalpha = "1"',
    '[[dependencies]]\nalpha = "1"',
    "dependencies = true",
    "dependencies = [2024-01-01]",
    '"dependencies" = 3',
    "Dependencies = 3",
    'dependencies = ["""\\\n  alpha"""]',
    "requires-python = 3",
    "requires-python = 3.11",
    'requires-python = [">=3.8"]',
    "requires_python = 3",
    'name = "x"\nversion = 3\n[project]\ndependencies = 3',
    "tool = 3",
    "tool = []",
    "tool = [1]",
    "[tool]\nuv = 3",
    "[tool]\nuv = []",
    '[[tool.uv]]\nprerelease = "allow"',
    "[tool.uv]",
    "[tool.black]\nx = 1",
    "[tool]\nblack = 1",
    'tool = {uv = {prerelease = "allow"}}',
    'tool = {uv = {}}\n[tool.uv.sources]\nx = {path = "y"}',
    "a = 1\na = 2",
    "dependencies = []\ndependencies = []",
    "[tool.uv]\n[tool.uv]",
    "dependencies = [",
    'dependencies = ["a" "b"]',
    "x = {a = 1,\n b = 2}",
    "x = {a = 1,}",
    'x = "\\e"',
    'x = "\\x41"',
    'x = "\\q"',
    'x = "\\ud800"',
    'x = "\\u0000"',
    'x = "\x7f"',
    'x = "\t"',
    "x = 07:32",
    "x = 1979-05-27T07:32Z",
    "x = 1979-05-27 07:32:00",
    "x = 2024-13-01",
    "x = 2023-02-29",
    "x = 24:00:00",
    "x = 2024-01-01T00:00:00+24:00",
    "x = 00:00:00.1234567890123",
    "é = 1",
    '"" = 1',
    "\ufeffx = 1",
    "x = 1\n\ufeffy = 1",
    "x = 18446744073709551616",
    f"x = {2**128 - 1}",
    f"x = {2**128}",
    f"x = -{2**127}",
    f"x = -{2**127 + 1}",
    "x = 0x" + "f" * 40,
    "x = " + "1" * 5000,
    "x = 1e999",
    "x = -1e999",
    "x = inf",
    "x = -nan",
    "x = 1__0",
    "x = 01",
    "x = +1",
    "x = " + "[" * 80 + "]" * 80,
    "x = " + "[" * 81 + "]" * 81,
    "x = " + "{a = " * 80 + "1" + "}" * 80,
    "x = " + "{a = " * 81 + "1" + "}" * 81,
    "x" + ".a" * 79 + " = 1",
    "x" + ".a" * 90 + " = 1",
    "[x" + ".a" * 79 + "]",
    "[x" + ".a" * 90 + "]",
    "# é ☃",
    "x = 23:59:60",
    "x = 0000-01-01",
    "[[tool]]",
    "tool = 2024-01-01",
]

#: what we refuse though uv takes it (or the other way round), and why
DIFFERENT: dict[str, dict[str, str]] = {
    "blocks": {
        "x = 23:59:60": "Python's time has no leap second; the value means nothing to anybody",
        "x = 0000-01-01": "Python's date has no year 0; the value means nothing to anybody",
        "[[tool]]": "uv takes a list of one table for the table, by accident of how it is read",
        "tool = 2024-01-01": "uv takes a date for a table, by the same accident",
    },
    "requirements": {
        "alpha @ ${HOME}/x.whl": "the key would not see what the variable holds",
        "alpha @ file://${HOME}/x.whl": "the same",
        "alpha @ /x y/a.whl": "packaging ends a URL at white space; %20 says the same",
        "alpha @ git+file:/x": "packaging wants the two slashes of a URL",
        "alpha @ https:/x.org/a.zip": "the same",
        "alpha @ https:x.org/a.zip": "the same",
        "alpha ; os_name == 'a\nb'": "packaging takes no line break in a literal, and no name holds one",
        "alpha;\n os_name\n=='x y\n'": "the same",
    },
    "options": {
        "foo = 1": "a uv that we don't know yet may take it: the uv that builds has the word",
        'upgrade-group = ["x"]': "the same",
    },
}


def in_block(toml: str) -> bytes:
    """A script with this TOML in its block."""
    lines = [f"# {line}" if line else "#" for line in toml.split("\n")]
    return "\n".join(["# /// script", *lines, "# ///", ""]).encode()


def _line(name: str, text: str) -> bytes:
    return in_block(f"{name} = {json.dumps(text)}")  # JSON's strings are TOML's


CASES: dict[str, dict[str, bytes]] = {
    "files": FILES,
    "blocks": {toml: in_block(toml) for toml in BLOCKS},
    "requirements": {text: in_block(f"dependencies = [{json.dumps(text)}]") for text in REQUIREMENTS},
    "specifiers": {text: in_block(f"requires-python = {json.dumps(text)}") for text in SPECIFIERS},
    "options": {toml: in_block(f'dependencies = ["alpha"]\n[tool.uv]\n{toml}') for toml in OPTIONS},
}


def uv_takes(path: Path, env: Mapping[str, str]) -> bool:
    """Whether uv takes a script: it answers 2 to one it can't read, 1 to one that it reads and can't resolve."""
    done = subprocess.run(
        [find_uv_bin(), "sync", "--dry-run", "--script", path.name],
        env=env,
        cwd=path.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode in {0, 1, 2}, done.stderr
    return done.returncode != 2


def we_take(path: Path) -> bool:
    """Whether we take it, the requirements included."""
    try:
        make_payload(parse_script(path.read_bytes()), str(path.parent), None, Settings(str(path.parent)))
    except ScriptError:
        return False
    return True


@pytest.mark.parametrize("kind", CASES)
def test_our_verdict_is_uvs(tmp_path: Path, offline_env: dict[str, str], kind: str) -> None:
    cases = CASES[kind]
    paths = []
    for number, data in enumerate(cases.values()):
        path = tmp_path / str(number) / "script.py"
        path.parent.mkdir()
        path.write_bytes(data)
        paths.append(path)
    with ThreadPoolExecutor(2) as pool:
        theirs = list(pool.map(lambda path: uv_takes(path, offline_env), paths))
    verdicts = zip(cases, map(we_take, paths), theirs, strict=True)
    differing = {name: f"uv takes it: {uv}" for name, ours, uv in verdicts if ours != uv}
    assert min(theirs.count(True), theirs.count(False)) >= 14, "the cases must try both verdicts"
    assert differing.keys() == DIFFERENT.get(kind, {}).keys(), differing
