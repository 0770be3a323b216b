"""Arguments, patterns and lists → files: what is taken, once, in which order."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.script.find import absolute, expand, natural, read_list
from tests.conftest import UNPRIVILEGED


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of cases with everything that trips patterns up."""
    names = [
        *(f"case{i}/script.py" for i in (1, 2, 10, 21)),
        "case2/deep/er/script.py",
        "case[1]/script.py",
        "case3/notes.txt",
        "script.py",
        ".hidden/script.py",
        "case1/.sharedenv/envs/x/script.py",
        ".sharedenv/envs/x/script.py",
        "with space/-n.py",
        "new\nline/script.py",
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def taken(folder: Path, *arguments: str, listed: tuple[str, ...] = ()) -> list[str]:
    """What is taken, relative to the folder."""
    return [os.path.relpath(path, folder) for path in expand(arguments, str(folder), listed)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("case?/script.py", ["case1/script.py", "case2/script.py"]),
        ("case[12]/script.py", ["case1/script.py", "case2/script.py"]),
        ("case[!1]/*.*", ["case2/script.py", "case3/notes.txt"]),
        ("case*/script.py", [*(f"case{i}/script.py" for i in (1, 2, 10, 21)), "case[1]/script.py"]),
        ("./case2//**/script.py", ["case2/deep/er/script.py", "case2/script.py"]),
        ("case2/**", ["case2/deep/er/script.py", "case2/script.py"]),
        ("**/deep/**/*.py", ["case2/deep/er/script.py"]),
        ("**/**/er/script.py", ["case2/deep/er/script.py"]),
        (".h*/script.py", [".hidden/script.py"]),
        ("**/-n.py", ["with space/-n.py"]),
        ("case1/../case2*/script.py", ["case2/script.py", "case21/script.py"]),
        ("case1*/../script.py", ["script.py"]),
        ("new?line/*", ["new\nline/script.py"]),
    ],
)
def test_patterns_match_files_in_natural_order(tree: Path, pattern: str, expected: list[str]) -> None:
    assert taken(tree, pattern) == expected
    assert taken(tree, f"{tree}/{pattern}") == expected


def test_digits_of_other_scripts_are_letters(tmp_path: Path) -> None:
    for name in ("２", "a", "10", "9"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "s.py").touch()
    assert taken(tmp_path, "*/s.py") == ["9/s.py", "10/s.py", "a/s.py", "２/s.py"]


def test_two_stars_enter_no_hidden_folder(tree: Path) -> None:
    found = taken(tree, "**/script.py")
    assert "script.py" in found
    assert "case2/deep/er/script.py" in found
    assert not [path for path in found if "/." in f"/{path}"]


@pytest.mark.parametrize("pattern", [".*/**/script.py", "*/.*/**/script.py", "**/.s*/**/script.py"])
def test_no_wildcard_enters_a_pool(tree: Path, pattern: str) -> None:
    assert not [path for path in taken(tree, pattern) if "envs" in path]


def test_a_name_that_is_there_wins_over_its_pattern(tree: Path) -> None:
    assert taken(tree, "case[1]/script.py") == ["case[1]/script.py"]


def test_order_between_arguments_stays_and_nothing_comes_twice(tree: Path) -> None:
    arguments = ["case10/script.py", "case*/script.py", "./script.py", str(tree / "script.py")]
    found = taken(tree, *arguments, listed=("case1/script.py",))
    assert found[:3] == ["case10/script.py", "case1/script.py", "case2/script.py"]
    assert found[-1] == "script.py"
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["nothing*", "missing.py", "case1", "case*/"])
def test_what_is_no_file_stays_for_the_report(tree: Path, name: str) -> None:
    """Whoever reads the scripts names it, together with all other bad ones."""
    assert taken(tree, name) == [name.rstrip("/")]


def test_listed_names_are_no_patterns(tree: Path) -> None:
    assert taken(tree, listed=("case*/script.py", " x")) == ["case*/script.py", " x"]


def test_a_link_is_a_case_of_its_own(tree: Path) -> None:
    (tree / "case4").mkdir()
    (tree / "case4/script.py").symlink_to("../script.py")
    (tree / "case5").symlink_to("case1")
    assert {"case4/script.py", "case5/script.py"} <= set(taken(tree, "case*/script.py"))
    assert "case4/script.py" in taken(tree, "**/script.py")


def test_two_stars_follow_no_link_to_a_folder(tree: Path) -> None:
    (tree / "case1/round").symlink_to("..")
    assert not [path for path in taken(tree, "**/script.py") if "round" in path]


def test_a_dangling_link_is_a_match(tree: Path) -> None:
    """Its reader says what is wrong; silence would leave a case out."""
    (tree / "case4").mkdir()
    (tree / "case4/script.py").symlink_to("gone.py")
    assert "case4/script.py" in taken(tree, "case*/script.py")
    assert "case4/script.py" in taken(tree, "case*/*.py")


@pytest.mark.parametrize(
    ("pattern", "expected"), [("case*/script.py", "case4/script.py"), ("cas*", "case4"), ("case*/*.py", "case4")]
)
def test_a_link_that_leads_round_hides_nothing(tree: Path, pattern: str, expected: str) -> None:
    (tree / "case4").symlink_to("case4")
    found = taken(tree, pattern)
    assert expected in found
    assert pattern == "cas*" or "case10/script.py" in found


def test_a_folder_that_can_not_be_read_is_not_left_out(tree: Path) -> None:
    program = "import sys; from sharedenv.script.find import expand; print(*expand(sys.argv[2:], sys.argv[1]), sep='\\n')"
    (tree / "case1").chmod(0)
    try:
        for pattern, expected in (("**/script.py", "case1"), ("case*/script.py", "case1/script.py")):
            argv = [*UNPRIVILEGED, sys.executable, "-c", program, str(tree), pattern]
            done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent.parent)
            assert str(tree / expected) in done.stdout.splitlines()
    finally:
        (tree / "case1").chmod(0o755)


def test_behind_a_link_two_dots_are_where_it_leads(tree: Path) -> None:
    (tree / "far/away").mkdir(parents=True)
    (tree / "far/script.py").touch()
    (tree / "near").symlink_to("far/away")
    assert absolute("near/../script.py", str(tree)) == os.path.realpath(tree / "far/script.py")
    assert absolute("case1/./script.py", str(tree)) == f"{tree}/case1/script.py"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/case\xe9"
    os.mkdir(folder)
    with open(folder + b"/script.py", "wb"):
        pass
    listed = read_list(b"case\xe9/script.py\n")
    for arguments in (["case*/script.py"], listed):
        assert [os.fsencode(path) for path in expand(arguments, str(tmp_path), listed)] == [folder + b"/script.py"]


def test_lists() -> None:
    assert read_list(b"a.py\r\n\n b.py \n#c.py\nd.py") == ["a.py", " b.py ", "#c.py", "d.py"]
    assert read_list(b"a\nb.py\0\0c.py\r\0", nul=True) == ["a\nb.py", "c.py\r"]
    assert read_list(b"") == []


@given(st.lists(st.integers(0, 10**20), max_size=9))
def test_numbers_in_names_count_as_numbers(numbers: list[int]) -> None:
    names = [f"case{number}/script.py" for number in numbers]
    assert sorted(names, key=natural) == [f"case{number}/script.py" for number in sorted(numbers)]


@given(st.lists(st.text("ab01.*?[]-２٣²", max_size=6), max_size=6))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    other_way_round = names[::-1]
    assert sorted(names, key=natural) == sorted(other_way_round, key=natural)


parts = st.sampled_from(["a", "b1", "b10", "*", "**", "b*", "?", "[ab]*", "*1"])


@given(st.lists(parts, min_size=1, max_size=4))
def test_the_files_are_those_of_glob(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """Which files match is what `glob` says, in the absence of hidden names and links."""
    root = tmp_path_factory.getbasetemp() / "glob"
    if not root.exists():
        for folder in ("a", "b1", "b10", "a/a", "a/b1/b10", "b1/a/b1", "b10/b10/b10"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / "file1").touch()
            (root / folder / "f").touch()
    pattern = "/".join([*names, "f*"])
    expected = {path for path in glob.glob(pattern, root_dir=root, recursive=True) if (root / path).is_file()}
    found = taken(root, pattern)
    assert set(found) == (expected or {pattern})
    assert len(found) == len(set(found))
    assert found == sorted(found, key=lambda path: [natural(part) for part in path.split("/")])
