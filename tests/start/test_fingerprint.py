"""The fast way in: equal fingerprints have equal keys, and computing one costs next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from sharedenv.errors import SharedenvError
from sharedenv.key.make import make_payload
from sharedenv.key.settings import gather_settings
from sharedenv.script.metadata import ScriptError, parse_script
from sharedenv.start.block import find_block
from sharedenv.start.fingerprint import fingerprint, surroundings

BLOCKS = (
    'dependencies = ["a"]',
    'dependencies = [ "a" ]',
    'dependencies = ["a"]\n[tool.uv.sources]\na = { path = "lib" }',
    'dependencies = ["a"]\n[to\\u006fl.uv.sources]\na = { path = "lib" }',
    'dependencies = ["a"]\n["to\\u006fl".uv.sources]\na = { path = "lib" }',
    'dependencies = ["a"]\ntool = { "uv" = { find-links = ["wheels"] } }',
    'dependencies = ["a"]\n[tool.uv]\nresolution = "lowest"',
    'dependencies = ["a",',
    'requires-python = ">=3.9"\ndependencies = ["a"]',
)
LOCKS = (
    None,
    b"version = 1\n",
    b'[[package]]\nsource = { registry = "https://x.org/simple" }\n',
    b'[[package]]\nsource = { registry = "../wheels" }\n',
    b'[[package]]\nsource = { registry = "http-wheels" }\n',
    b'[[package]]\nsource = { directory = "lib" }\n',
    b'[[package]]\nsource = {path="lib.whl"}\n',
)
FILES = {
    "uv.toml": ("", 'resolution = "lowest"\n', 'find-links = ["wheels"]\n'),
    "pyproject.toml": ('[project]\nname = "x"\n', '[tool.uv]\nprerelease = "allow"\n'),
    ".python-version": ("3.11\n", "3.12\n"),
    "list.txt": ("b<2\n", "b<3\n"),
    "case1/list.txt": ("b<4\n",),
    "other.toml": ('resolution = "lowest-direct"\n',),
}
VARIABLES: tuple[dict[str, str], ...] = (
    {},
    {"UV_PRERELEASE": "allow"},
    {"UV_FIND_LINKS": "wheels"},
    {"UV_FIND_LINKS": "/opt/wheels,https://x.org/a b"},
    {"UV_INDEX": "x=../index"},
    {"UV_CONSTRAINT": "list.txt"},
    {"UV_CONFIG_FILE": "other.toml"},
    {"UV_NO_CONFIG": "1"},
    {"UV_FIND_LINKS": "{base}/one/wheels"},
    {"UV_PYTHON": "3.10"},
    {"SHAREDENV_PYTHON": "3.10"},
    {"UV_CACHE_DIR": "/cache"},
    {"UV_NO_BUILD": "1", "UV_SOMETHING": "new"},
)


class Situation:
    """A project, a script in it, an environment, a current folder."""

    def __init__(self, base: Path, random: Random) -> None:
        self.root = base / random.choice(("one", "two"))
        self.folder = self.root / random.choice((".", "case1", "case1/deep", "case2"))
        self.cwd = random.choice((self.root, self.root / "case1"))
        self.environ = {"HOME": "/nowhere", "XDG_CONFIG_DIRS": "/nowhere", **random.choice(VARIABLES)}
        self.environ = {name: value.replace("{base}", str(base)) for name, value in self.environ.items()}
        self.python = random.choice((None, None, None, None, "3.10", "./bin/python", ".venv"))
        self.files = {name: random.choice(texts) for name, texts in FILES.items() if random.random() < 0.4}
        self.script = "".join(f"# {line}\n" for line in ("/// script", *random.choice(BLOCKS).splitlines(), "///")).encode()
        self.lock = random.choice(LOCKS) if random.random() < 0.5 else None

    def write(self) -> None:
        """Puts its files there, and none of another situation's."""
        for folder in ("case1/deep", "case2"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (self.root / name).unlink(missing_ok=True)
        for name, text in self.files.items():
            (self.root / name).write_text(text)
        lock = self.folder / "s.py.lock"
        lock.unlink(missing_ok=True)
        if self.lock is not None:
            lock.write_bytes(self.lock)

    def fingerprint(self) -> str | None:
        """By the fast way."""
        block = find_block(self.script)
        assert block is not None
        around = surroundings(str(self.root), self.environ, self.python)
        return None if around is None else fingerprint(around, block.content, os.path.normpath(self.folder / "s.py"))

    def key(self) -> str:
        """By the full way; an error's words where there is no key."""
        try:
            found = gather_settings(str(self.root), self.environ, self.python)
            folder = os.path.normpath(self.folder)
            return make_payload(parse_script(self.script), folder, self.lock, found).key
        except (ScriptError, SharedenvError) as error:
            return f"{type(error).__name__}: {error}"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the situations; the current folder is given back at the end."""
    before = os.getcwd()
    yield tmp_path_factory.mktemp("fingerprint")
    os.chdir(before)


def test_equal_fingerprints_have_equal_keys(base: Path) -> None:
    """Over projects written to disk: hypothesis would make the same ones, at ten times the cost."""
    keys: dict[str, str] = {}
    hits = 0
    for seed in range(4000):
        situation = Situation(base, Random(seed))
        situation.write()
        os.chdir(situation.cwd)
        found = situation.fingerprint()
        if found is None:
            assert "Error" in situation.key()
            continue
        hits += found in keys
        assert keys.setdefault(found, situation.key()) == situation.key(), vars(situation)
    assert hits > 50
    assert len(set(keys.values())) > 200


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, current."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def taken(root: Path, block: bytes = b"x", name: str = "s.py", **environ: str) -> str | None:
    """A fingerprint."""
    around = surroundings(str(root), environ)
    return None if around is None else fingerprint(around, block, str(root / name))


def test_copies_share_a_fingerprint_whatever_folder_they_and_we_are_in(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = taken(project, name="case1/s.py", UV_INDEX_URL="https://x.org/simple", UV_FIND_LINKS="/opt/wheels")
    (project / "case2").mkdir()
    monkeypatch.chdir(project / "case2")
    assert taken(project, name="case2/t.py", UV_INDEX_URL="https://x.org/simple", UV_FIND_LINKS="/opt/wheels") == one


def test_a_file_that_cannot_be_read_leaves_the_word_to_the_full_way(project: Path) -> None:
    assert taken(project, UV_CONSTRAINT="nowhere.txt") is None
    (project / "uv.toml").mkdir()
    assert taken(project) is None


def test_where_one_part_ends_and_the_next_begins_is_seen(project: Path) -> None:
    assert taken(project, UV_A="b", UV_C="d") != taken(project, UV_A="bUV_Cd")


def test_a_fingerprint_imports_next_to_nothing() -> None:
    code = "import os, sys; before = set(sys.modules); import sharedenv.start.fingerprint; print(*sorted(set(sys.modules) - before))"
    argv = [sys.executable, "-S", "-c", code]
    env = {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=env)
    ours = {"sharedenv", "sharedenv.start", *(f"sharedenv.start.{name}" for name in ("environ", "fingerprint", "uv_variables"))}
    assert set(done.stdout.split()) <= ours | {"__future__", "_sha2", "_sha256"}
