"""Scripts grouped by key, and the report of the bad ones: all at once, on one screen."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from sharedenv.errors import EXIT_USAGE
from sharedenv.key.make import maker
from sharedenv.key.payload import Payload
from sharedenv.key.plan import Plan, make_plan
from sharedenv.key.settings import Settings
from sharedenv.script.find import expand
from sharedenv.script.metadata import Metadata
from sharedenv.script.problems import LINES, BadScripts, shown

GOOD = '# /// script\n# dependencies = ["alpha"]\n# ///\n'
RELATIVE = GOOD.replace("# ///\n", '# [tool.uv.sources]\n# alpha = {path = "alpha"}\n# ///\n')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    """Writes files under a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def plan(folder: Path, *arguments: str) -> Plan:
    """The plan of what these arguments name."""
    return make_plan(expand(arguments, str(folder)), maker(Settings(str(folder), platform="linux-x86_64-gnu")))


def bad(folder: Path, *arguments: str) -> BadScripts:
    """The report on these arguments, some of which must be bad."""
    with pytest.raises(BadScripts) as caught:
        plan(folder, *arguments)
    return caught.value


def test_copies_share_a_need_and_keep_their_order(folder: Path) -> None:
    write(folder, {f"case{i}/script.py": GOOD + f"print({i})\n" for i in (10, 9, 1)})
    write(folder, {"case2/script.py": GOOD.replace("alpha", "beta")})
    write(folder, {"case3/script.py": "\n" + GOOD.replace("\n", "\r\n")})
    made = plan(folder, "case*/script.py")
    assert [path for path, _ in made.scripts] == [f"{folder}/case{i}/script.py" for i in (1, 2, 3, 9, 10)]
    alpha, beta = made.needs.values()
    assert alpha.scripts == tuple(f"{folder}/case{i}/script.py" for i in (1, 3, 9, 10))
    assert beta.scripts == (f"{folder}/case2/script.py",)
    assert {key for _, key in made.scripts} == set(made.needs) == {alpha.payload.key, beta.payload.key}


def test_a_lock_file_beside_a_script_sets_it_apart(folder: Path) -> None:
    write(folder, {"a/s.py": GOOD, "b/s.py": GOOD, "c/s.py": GOOD, "b/s.py.lock": "x = 1\n", "c/s.py.lock": "x = 1\n"})
    without, with_lock = plan(folder, "*/s.py").needs.values()
    assert without.payload.aside.lock is None
    assert with_lock.payload.aside.lock == b"x = 1\n"
    assert len(with_lock.scripts) == 2


def test_each_distinct_block_is_worked_out_once(folder: Path) -> None:
    write(folder, {f"case{i}/script.py": GOOD + f"print({i})\n" for i in range(50)})
    assert len(worked_out(folder, "case*/script.py")) == 1


def test_relative_sources_are_worked_out_in_each_folder(folder: Path) -> None:
    """The same bytes in two folders may mean two things."""
    write(folder, {"a/s.py": RELATIVE, "a/t.py": RELATIVE, "b/s.py": RELATIVE})
    assert worked_out(folder, "*/*.py") == [f"{folder}/a/s.py", f"{folder}/b/s.py"]


def worked_out(folder: Path, *arguments: str) -> list[str]:
    """The scripts of a plan whose payload was made and not known from another."""
    paths: list[str] = []
    make = maker(Settings(str(folder)))

    def noting(metadata: Metadata, path: str, lock: bytes | None) -> Payload:
        paths.append(path)
        return make(metadata, path, lock)

    make_plan(expand(arguments, str(folder)), noting)
    return paths


OPTIONS = (
    'find-links = ["wheels"]',
    'find-links = ["/opt/wheels", "https://x.org/wheels"]',
    'index = [{ url = "index", format = "flat" }]',
    'index-url = "index"',
    'extra-index-url = ["https://x.org/simple"]',
    'exclude-newer = "2024-01-01"',
    "[tool.uv.sources]\nalpha = { path = '../lib' }",
    "[tool.uv.sources]\nalpha = { path = '/opt/lib' }",
    "[tool.uv.sources]\nalpha = { git = 'https://x.org/a', subdirectory = 'a' }",
    "[tool.uv.sources]\nalpha = [{ path = 'lib', marker = 'os_name == \"nt\"' }]",
    # packages with the names of fields
    *(f"[tool.uv.sources]\n{name} = {{ path = 'lib' }}" for name in ("tag", "index", "name", "marker", "format", "rev", "group")),
)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("lock", [None, 'x = 1\n', 'source = { directory = "lib" }\n', 'source = { directory = "/lib" }\n'])
def test_a_script_has_the_key_it_would_have_alone(folder: Path, option: str, lock: str | None) -> None:
    """What is worked out once for many scripts is worked out for each: copies in other folders may mean something else."""
    head = "" if option.startswith("[") else "[tool.uv]\n"
    text = "".join(f"# {line}\n" for line in ["/// script", "dependencies = []", *(head + option).split("\n"), "///"])
    names = ("a/s.py", "a/t.py", "a/b/s.py", "c/s.py")
    write(folder, dict.fromkeys(names, text))
    if lock is not None:
        write(folder, {f"{name}.lock": lock for name in names if name != "a/t.py"})
    alone = [plan(folder, name).scripts[0] for name in names]
    assert list(plan(folder, *names).scripts) == alone


def test_every_bad_script_is_named_at_once(folder: Path) -> None:
    write(
        folder,
        {
            "good/s.py": GOOD,
            "unclosed/s.py": "# /// script\nprint()\n",
            "toml/s.py": "# /// script\n# a = [\n# ///\n",
            "list/s.py": '\n# /// script\n# dependencies = "alpha"\n# ///\n',
            "entry/s.py": '# /// script\n# dependencies = [\n#   "alpha",\n#   "numpy>>1",\n# ]\n# ///\n',
            "none/s.py": "print()\n",
            "two/s.py": GOOD + "\n" + GOOD,
            "python/s.py": '# /// script\n# requires-python = "3.x"\n# ///\n',
            "bytes/s.py": GOOD.encode() + b"\xff",
            "lock/s.py": GOOD,
            "lock/s.py.lock/folder": "",
        },
    )
    error = bad(folder, "*/s.py", "missing.py", "cas*/s.py", "good")
    in_a_line = "unclosed/s.py:1 toml/s.py:3 list/s.py:3 entry/s.py:4 two/s.py:5 python/s.py:2 bytes/s.py:4"
    as_a_whole = "none/s.py lock/s.py missing.py cas*/s.py good"
    assert error.exit_code == EXIT_USAGE
    assert error.message == "12 of 13 scripts can't be used; nothing was done"
    assert error.cause is not None
    for place in f"{in_a_line} {as_a_whole}".split():
        assert f"\n{place}: " in "\n" + error.cause
    assert "no file matches this pattern" in error.cause
    assert "entry/s.py:4: dependencies[1]: " in error.cause
    fields = {os.path.relpath(problem.path, folder): problem.field for problem in error.problems}
    assert fields["entry/s.py"] == "dependencies[1]"
    assert fields["python/s.py"] == "requires-python"


@pytest.mark.parametrize(
    ("toml", "cause"),
    [
        ('dependencies = ["numpy>>1"]', "'numpy>>1': expected semicolon (after name with no version specifier) or end, found '>>1'"),
        ('dependencies = ["numpy>1 <2"]', "version specifier), semicolon (after version specifier) or end, found '<2'"),
        ('dependencies = ["numpy;"]', "'numpy;': expected a marker variable or quoted string, found nothing more"),
        ('dependencies = ["x @ https://me:secret@host/y z"]', "'x @ https://host/y z': expected semicolon"),
        ('dependencies = ["x @ ftp://me:secret@host/y"]', "'ftp://host/y' is not a URL"),
        ('requires-python = "3.10"', "'3.10' is not a version specifier, such as '>=3.10' or '>=3.10,<3.13'"),
        ('requires-python = ">=3.10,<4x"', "'>=3.10,<4x': '<4x' is not a version specifier, such as"),
    ],
)
def test_what_can_not_be_read_is_told_in_words(folder: Path, toml: str, cause: str) -> None:
    write(folder, {"s.py": f"# /// script\n# {toml}\n# ///\n"})
    error = bad(folder, "s.py")
    assert cause in str(error.cause)
    assert "secret" not in str(error.cause)


@pytest.mark.parametrize("toml", ["dependencies = 3", 'dependencies = ["numpy>>1"]', "dependencies = ["])
def test_the_same_block_further_down_has_its_own_line(folder: Path, toml: str) -> None:
    block = f"# /// script\n# {toml}\n# ///\n"
    write(folder, {"a.py": block, "b.py": "\n\n" + block})
    first, second = bad(folder, "a.py", "b.py").problems
    assert first.line is not None
    assert second.line == first.line + 2


def test_equal_errors_of_thousands_stay_on_one_screen(folder: Path) -> None:
    write(folder, {f"case{i}/script.py": "# /// script\nprint()\n" for i in range(1, 2001)})
    write(folder, {f"case{i}/script.py": GOOD for i in range(2001, 2004)})
    error = bad(folder, "case*/script.py")
    assert error.message == "2,000 of 2,003 scripts can't be used; nothing was done"
    assert error.cause == (
        "2,000 scripts: the `# /// script` block is never closed by a line `# ///`\n"
        "    case1/script.py:1\n"
        "    case2/script.py:1\n"
        "    case3/script.py:1\n"
        "    case4/script.py:1\n"
        "    case5/script.py:1\n"
        "    … and 1,995 more"
    )
    assert error.hint == "sed -n 1p case1/script.py"
    assert len(error.problems) == 2000


def test_errors_of_many_kinds_stay_on_one_screen(folder: Path) -> None:
    for i in range(200):  # the wrong entry is another one in every second script, so there are 100 kinds of errors
        entries = '"alpha", ' * (i // 2) + "1"
        write(folder, {f"case{i}/script.py": f"# /// script\n# dependencies = [{entries}]\n# ///\n"})
    error = bad(folder, "*/script.py")
    assert error.cause is not None
    assert len(error.cause.splitlines()) <= 2 * LINES
    assert "more kinds of errors in" in error.cause


def test_one_script_alone_is_one_sentence(folder: Path) -> None:
    write(folder, {"s.py": "# /// script\n# dependencies = 3\n# ///\n"})
    error = bad(folder, "s.py")
    assert error.message == "s.py:2 can't be used; nothing was done"
    assert error.cause == 'dependencies is a number; it must be a list of strings, such as ["numpy>=1.26"]'
    assert error.hint == "sed -n 2p s.py"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("case*/x.py", "ls ."),
        ("a b/x*", "ls 'a b'"),
        ("no block.py", "uv init --script 'no block.py'"),
        ("a link.py", "ls -ld 'a link.py'*"),
    ],
)
def test_the_hint_is_one_command(folder: Path, name: str, hint: str) -> None:
    write(folder, {"no block.py": "print()\n"})
    (folder / "a link.py").symlink_to("gone.py")
    assert bad(folder, name).hint == hint


def test_a_pipe_is_named_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")
    assert bad(folder, "*.py").cause == "can't be read: not a regular file"


def test_a_dangling_link_is_named(folder: Path) -> None:
    (folder / "link.py").symlink_to("gone.py")
    assert bad(folder, "link.py").cause == "a link to a file that isn't there"


def test_a_file_that_is_no_script_is_not_read_whole(folder: Path) -> None:
    with open(folder / "data.py", "wb") as file:
        file.truncate(10**12)
    cause = bad(folder, "data.py").cause
    assert cause is not None
    assert "1,000,000 MB" in cause


def test_names_are_told_in_one_line(folder: Path) -> None:
    cwd = str(folder)
    assert shown(f"{cwd}/a/s.py", cwd) == "a/s.py"
    assert shown("/s.py", cwd) == "/s.py"
    assert shown(f"{cwd}/new\nline \x1b[31m.py", cwd) == "new\\nline \\x1b[31m.py"
    assert shown(os.fsdecode(b"\xe9.py"), "/") == "\\xe9.py"


def test_lock_files_of_copies_are_held_once(folder: Path) -> None:
    """100,000 copies with a lock file of 100 KB must not fill the memory."""
    for i in range(200):
        write(folder, {f"case{i}/s.py": RELATIVE, f"case{i}/s.py.lock": b"#" * 100_000})
    paths = expand(["case*/s.py"], str(folder))
    tracemalloc.start()
    try:
        make_plan(paths, maker(Settings(str(folder))))
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_an_empty_file_is_no_script(folder: Path) -> None:
    write(folder, {"s.py": "", "good/s.py": GOOD, "late/s.py": ""})
    assert "no `# /// script` block in it" in str(bad(folder, "s.py").cause)
    assert len(bad(folder, "s.py", "good/s.py", "late/s.py").problems) == 2
