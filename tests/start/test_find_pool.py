"""Which pool a script has: one answer for each, whoever is named beside it and from wherever it is called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from sharedenv.start import find_pool
from sharedenv.start.environ import current_folder
from sharedenv.start.find_pool import EDGES, Ancestors


def _pool(folder: Path, *, init: bool = False) -> str:
    pool = folder / ".sharedenv"
    pool.mkdir(parents=True)
    (pool / "pool.json").write_text('{"format": 1, "init": true}\n' if init else '{"format": 1}\n')
    return str(pool)


def _of(path: Path | str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    return Ancestors(environ or {}).of_script(str(path))


def test_the_nearest_above_comes_first(tmp_path: Path) -> None:
    outer, inner = _pool(tmp_path), _pool(tmp_path / "a")
    assert _of(tmp_path / "a" / "case1" / "s.py") == (inner, outer)
    assert _of(tmp_path / "b" / "s.py") == (outer,)


@pytest.mark.parametrize("edge", EDGES)
def test_the_search_ends_at_the_edge_of_a_project(tmp_path: Path, edge: str) -> None:
    outer = _pool(tmp_path)
    (tmp_path / "project" / "case1").mkdir(parents=True)
    (tmp_path / "project" / edge).touch()
    assert _of(tmp_path / "project" / "case1" / "s.py") == ()
    inner = _pool(tmp_path / "project")
    assert _of(tmp_path / "project" / "case1" / "s.py") == (inner,)
    assert _of(tmp_path / "s.py") == (outer,)


def test_a_pool_that_init_made_reaches_into_projects_below(tmp_path: Path) -> None:
    outer, middle = _pool(tmp_path, init=True), _pool(tmp_path / "a")
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "a" / "b" / ".git").touch()
    assert _of(tmp_path / "a" / "b" / "s.py") == (outer,)
    assert _of(tmp_path / "a" / "s.py") == (middle, outer)


def test_pools_where_all_projects_lie_are_not_found_from_below(tmp_path: Path) -> None:
    home = _pool(tmp_path / "home")
    above = _pool(tmp_path)
    environ = {"HOME": f"{tmp_path}/home"}
    assert _of(tmp_path / "home" / "project" / "s.py", environ) == (above,)
    assert _of(tmp_path / "home" / "s.py", environ) == (home, above), "in the folder itself it is"
    assert _of(tmp_path / "home" / "project" / "s.py") == (home, above), "somebody else's home"


def test_a_case_that_is_a_link_to_scratch_has_the_pool_of_its_project(tmp_path: Path) -> None:
    pool, scratch = _pool(tmp_path / "project"), tmp_path / "scratch" / "case9"
    scratch.mkdir(parents=True)
    (tmp_path / "project" / "case9").symlink_to(scratch)
    typed = tmp_path / "project" / "case9"
    assert _of(typed / "s.py") == (pool,)
    assert current_folder({"PWD": str(typed)}) != str(typed)
    before = Path.cwd()
    try:
        os.chdir(scratch)
        assert current_folder({"PWD": str(typed)}) == str(typed)
        for other in (str(tmp_path), "case9", "", f"{typed}/", f"{typed}/../case9", "/missing"):
            assert current_folder({"PWD": other}) == str(scratch), other
    finally:
        os.chdir(before)


def test_where_the_path_leads_comes_after_the_path(tmp_path: Path) -> None:
    pool = _pool(tmp_path / "scratch")
    (tmp_path / "scratch" / "case9").mkdir()
    (tmp_path / "scratch" / "case9" / "s.py").touch()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "case9").symlink_to(tmp_path / "scratch" / "case9")
    (tmp_path / "project" / "one.py").symlink_to(tmp_path / "scratch" / "case9" / "s.py")
    assert _of(tmp_path / "project" / "case9" / "s.py") == (pool,)
    assert _of(tmp_path / "project" / "one.py") == (pool,)
    assert Ancestors({}).of_folder(str(tmp_path / "project" / "case9")) == (pool,)
    nearer = _pool(tmp_path / "project")
    assert _of(tmp_path / "project" / "case9" / "s.py") == (nearer,)


def test_a_link_counts_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / ".sharedenv").symlink_to("/not/mounted")
    assert _of(tmp_path / "s.py") == (f"{tmp_path}/.sharedenv",)


def test_each_folder_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on the way from thousands of cases to the root: the parts that they share."""
    _pool(tmp_path)
    looked: list[str] = []
    asked: list[str] = []
    monkeypatch.setattr(find_pool, "made_by_init", asked.append)
    look = find_pool._folder_or_link

    def noted(path: str) -> os.stat_result | None:
        looked.append(path)
        return look(path)

    monkeypatch.setattr(find_pool, "_folder_or_link", noted)
    ancestors = Ancestors({})
    for number in range(50):
        for name in ("a.py", "b.py"):
            assert ancestors.of_script(f"{tmp_path}/deep/case{number}/{name}") == (f"{tmp_path}/.sharedenv",)
    assert asked == [f"{tmp_path}/.sharedenv"]
    assert len(looked) == len(set(looked)) <= 50 + len(tmp_path.parts), looked[50:]
