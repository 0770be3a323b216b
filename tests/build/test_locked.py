"""uv's own lock files beside scripts: installed to the letter under the options that they record, or refused by name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sharedenv.script.uv_lock import recorded_options, without_credentials
from tests.conftest import Project
from tests.key.test_canonical import PRINT_ALPHA, PRINT_LIB, UV, make_library
from tests.pool.test_held import PASSWORD, USER, serving
from tests.wheels import make_wheel


def lock(project: Project, name: str, *options: str, env: dict[str, str] | None = None) -> None:
    """`uv lock --script`, as a user would."""
    argv = [UV, "lock", "--quiet", "--script", name, *options]
    subprocess.run(argv, cwd=project.path, env={**project.env, **(env or {})}, check=True)


def follow(project: Project, told: str, cwd: Path | None = None) -> None:
    """Does what a hint says."""
    hint = told.split("hint: ")[1]
    path = os.path.dirname(UV) + os.pathsep + project.env["PATH"]
    subprocess.run(hint, shell=True, cwd=cwd or project.path, env={**project.env, "PATH": path}, check=True, capture_output=True)


@pytest.fixture
def newer(project: Project, tmp_path: Path) -> Path:
    """A folder of wheels with alpha 1.0, 1.1 and 2.0rc1."""
    folder = tmp_path / "index"
    for version in ("1.0", "1.1", "2.0rc1"):
        make_wheel(folder, "alpha", version)
    project.env |= {"UV_FIND_LINKS": str(folder)}
    return folder


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--resolution", "lowest"], "1.0"),
        (["--resolution", "lowest-direct"], "1.0"),
        (["--prerelease", "allow"], "2.0rc1"),
        (["--fork-strategy", "fewest"], "1.1"),
        (["--exclude-newer", "2030-01-01"], "1.1"),
        (["--exclude-newer", "30 days", "--exclude-newer-package", "alpha=3 days"], "1.1"),
        (["--exclude-newer-package", "alpha=2030-01-01", "--resolution", "lowest"], "1.0"),
    ],
)
def test_a_lock_made_under_flags_of_uvs_is_installed_to_the_letter(project: Project, newer: Path, options: list[str], expected: str) -> None:
    project.script("s.py", ["alpha>=1"], PRINT_ALPHA)
    lock(project, "s.py", *options)
    make_wheel(newer, "alpha", "1.2")
    assert project.call("exec", "s.py").stdout == f"{expected}\n"
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == f"{expected}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('exclude-newer = "30 days"', "1.1"),
        ('prerelease = "allow"', "2.0rc1"),
        ('resolution = "lowest-direct"', "1.0"),
        ('exclude-newer-package = { alpha = "30 days", tool = false }', "1.1"),
        ('prerelease-package = { alpha = "allow" }', "2.0rc1"),
        ('dependency-metadata = [{ name = "alpha", version = "1.1", requires-dist = ["delta>=1"] }]', "1.1"),
    ],
)
def test_a_lock_made_under_the_users_own_configuration_is_installed_to_the_letter(
    project: Project, newer: Path, tmp_path: Path, text: str, expected: str
) -> None:
    make_wheel(newer, "delta", "1.0")
    (tmp_path / "config" / "uv").mkdir(parents=True)
    (tmp_path / "config" / "uv" / "uv.toml").write_text(text + "\n")
    project.env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    project.script("s.py", ["alpha"], PRINT_ALPHA)
    lock(project, "s.py")
    done = project.call("exec", "s.py")
    assert done.stdout == f"{expected}\n" and "left out" not in done.stderr
    del project.env["XDG_CONFIG_HOME"]  # a colleague has another
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == f"{expected}\n"
    assert ("delta" in project.call("show", "s.py").stdout) == ("delta" in text)


def test_a_lock_that_names_places_is_installed_under_its_options_too(project: Project, newer: Path) -> None:
    make_library(project.path / "lib")
    project.script("s.py", ["lib", "alpha"], f"{PRINT_LIB}\n{PRINT_ALPHA}", extra='[tool.uv.sources]\nlib = { path = "lib" }')
    lock(project, "s.py", "--resolution", "lowest", "--exclude-newer", "9 days")
    assert project.call("exec", "s.py").stdout == "1\n1.0\n"


def test_an_option_that_a_variable_gives_now_is_named(project: Project, newer: Path) -> None:
    project.script("s.py", ["alpha"], PRINT_ALPHA)
    lock(project, "s.py", "--resolution", "lowest")
    told = project.call("exec", "s.py", status=125, env={"UV_RESOLUTION": "highest"}).stderr
    assert "its lock file s.py.lock was made under another resolution: change in resolution mode: `lowest` vs. `highest`" in told
    assert "UV_RESOLUTION is set; without it what is locked is installed" in told and told.endswith("hint: unset UV_RESOLUTION\n")
    assert project.call("exec", "s.py", env={"UV_RESOLUTION": "lowest"}).stdout == "1.0\n"


@pytest.mark.parametrize("place", ["block", "project", "project, from elsewhere"])
@pytest.mark.parametrize(
    ("option", "said"),
    [('resolution = "lowest-direct"', "resolution"), ('exclude-newer = "2030-01-01"', "exclude-newer"), ('prerelease = "allow"', "prerelease")],
)
def test_an_option_that_is_written_down_after_the_lock_is_named_and_the_hint_keeps_the_pins(
    project: Project, newer: Path, tmp_path: Path, place: str, option: str, said: str
) -> None:
    project.script("case/s.py", ["alpha"], PRINT_ALPHA)
    lock(project, "case/s.py")
    before = (project.path / "case/s.py.lock").read_text()
    if place == "block":
        project.script("case/s.py", ["alpha"], PRINT_ALPHA, extra=f"[tool.uv]\n{option}")
    else:
        (project.path / "uv.toml").write_text(option + "\n")
    cwd = project.path / "case" if "elsewhere" in place else project.path
    pool = {"SHAREDENV_POOL": str(project.pool)}
    name = "s.py" if "elsewhere" in place else "case/s.py"
    told = project.call("build", name, status=3, cwd=cwd, env=pool).stderr
    assert f"was made under another {said}: " in told and f"{said} stands in {'[tool.uv] of' if place == 'block' else 'the configuration of'}" in told
    assert "`uv lock` chooses versions anew under it" in told
    follow(project, told, cwd)
    assert (project.path / "case/s.py.lock.old").read_text() == before
    project.call("build", name, cwd=cwd, env=pool)


def test_a_lock_that_is_made_again_for_another_dependency_keeps_its_pins(project: Project, newer: Path) -> None:
    make_wheel(newer, "delta", "1.0")
    project.script("s.py", ["alpha"], PRINT_ALPHA)
    lock(project, "s.py", "--resolution", "lowest", "--exclude-newer-package", "alpha=3 days")
    project.script("s.py", ["alpha", "delta"], PRINT_ALPHA)
    told = project.call("build", "s.py", status=3).stderr
    assert "its lock file s.py.lock does not match it: mismatched requirements\n" in told
    follow(project, told)
    assert project.call("exec", "s.py").stdout == "1.0\n"


def test_a_lock_beside_the_file_that_a_link_leads_to_counts(project: Project, newer: Path) -> None:
    make_library(project.path / "real/lib")
    extra = '[tool.uv.sources]\nlib = { path = "lib" }'
    project.script("real/s.py", ["lib", "alpha"], f"{PRINT_LIB}\n{PRINT_ALPHA}", extra=extra)
    project.script("real/t.py", ["alpha"], PRINT_ALPHA)
    for name in ("s.py", "t.py"):
        lock(project, f"real/{name}", "--resolution", "lowest")
        for number in (1, 2):
            (project.path / f"case{number}").mkdir(exist_ok=True)
            (project.path / f"case{number}/{name}").symlink_to(f"../real/{name}")
    (project.path / "case3").mkdir()
    (project.path / "case3/t.py").symlink_to("../case1/t.py")
    assert project.call("exec", "case1/s.py").stdout == "1\n1.0\n"
    for name in ("case1/t.py", "case2/t.py", "case3/t.py"):
        assert project.call("exec", name).stdout == "1.0\n"
        assert project.call("exec", name).stdout == "1.0\n", "by its fingerprint"
    keys = {line.split()[0] for line in project.call("key", "real/t.py", "case1/t.py", "case3/t.py").stdout.splitlines()}
    assert len(keys) == 1
    told = project.call("build", "--upgrade", "case2/t.py", status=2).stderr
    assert "hint: uv lock --upgrade --script case2/t.py" not in told and "real/t.py.lock" in told
    (project.path / "real/t.py.lock").unlink()
    assert project.call("exec", "case1/t.py").stdout == "1.1\n"


def test_of_two_locks_that_beside_the_link_counts(project: Project, newer: Path) -> None:
    """It is the one that uv knows."""
    project.script("real/s.py", ["alpha"], PRINT_ALPHA)
    (project.path / "case1").mkdir()
    (project.path / "case1/s.py").symlink_to("../real/s.py")
    lock(project, "case1/s.py", "--resolution", "lowest")
    lock(project, "real/s.py")
    assert project.call("exec", "case1/s.py").stdout == "1.0\n"
    assert project.call("exec", "real/s.py").stdout == "1.1\n"
    (project.path / "case1/s.py.lock").write_text("x")
    told = project.call("exec", "case1/s.py", status=125).stderr
    assert "its lock file case1/s.py.lock is damaged" in told


def test_a_rotated_token_in_a_lock_is_the_same_key(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "http"
    wheel = make_wheel(folder / "alpha", "alpha", "1.1")
    del project.env["UV_OFFLINE"], project.env["UV_FIND_LINKS"]
    with serving(folder) as port:
        url = f"http://{USER}:{PASSWORD}@127.0.0.1:{port}/alpha/{wheel.name}"
        for case, address in (("a", url + "?token=one"), ("b", url + "?token=two")):
            project.script(f"{case}/s.py", [f"alpha @ {address}"], PRINT_ALPHA)
            lock(project, f"{case}/s.py")
        assert len({line.split()[0] for line in project.call("key", "a/s.py", "b/s.py").stdout.splitlines()}) == 1
        assert project.call("exec", "a/s.py").stdout == "1.1\n" == project.call("exec", "--no-build", "b/s.py").stdout
        # the script's token is new and that of its lock file is not
        stale = project.path / "a/s.py.lock"
        stale.write_text(stale.read_text().replace(PASSWORD, "outdated").replace("token=one", "token=zero"))
        project.env["UV_CACHE_DIR"] = str(tmp_path / "cache")
        project.call("build", "--rebuild", "a/s.py")
        for path in project.pool.rglob("*"):
            if path.is_file() and path.suffix in (".log", ".json", ".toml"):
                assert PASSWORD not in path.read_text() and "outdated" not in path.read_text()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://me:old@x.org/a.whl", "https://me:new@x.org/a.whl"),
        ("https://x.org/a.whl?token=old&b=1", "https://x.org/a.whl?token=new&b=1"),
        ("git+https://old@x.org/r?rev=main#1234", "git+https://new@x.org/r?rev=main#1234"),
        ("https://s3.org/a.whl?X-Amz-Signature=old&X-Amz-Date=1", "https://s3.org/a.whl?X-Amz-Signature=new&X-Amz-Date=2"),
    ],
)
def test_what_of_a_lock_is_no_secret_counts(one: str, other: str) -> None:
    texts = [f'source = {{ url = "{url}" }}\nwheels = [{{ url = "{url}", hash = "sha256:1" }}]\n'.encode() for url in (one, other)]
    assert without_credentials(texts[0]) == without_credentials(texts[1])
    for url in ("https://x.org/a.whl?b=2", "https://x.org/a%40b.whl", "git+ssh://git@x.org/r", "https://x.org/a.whl?", "/a@b/c?d"):
        text = f'source = {{ url = "{url}" }}\n'.encode()
        assert without_credentials(text) == text, "a lock without secrets keeps its digest, byte for byte"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("x", {}),
        ("[options]\n", {}),
        ("options = 3\nmanifest = []\n", {}),
        ('[options]\nresolution-mode = "lowest"\nunheard-of = 1\n', {"resolution": "lowest"}),
        ('[options]\nexclude-newer = "0001-01-01T00:00:00Z"\nexclude-newer-span = "P30D"\n', {"exclude-newer": "P30D"}),
        (
            '[options.exclude-newer-package]\na = { timestamp = "0001-01-01T00:00:00Z", span = "P3D" }\nb = false\nc = "2030-01-01T00:00:00Z"\n',
            {"exclude-newer-package": {"a": "P3D", "b": False, "c": "2030-01-01T00:00:00Z"}},
        ),
    ],
)
def test_the_options_that_a_lock_records(text: str, expected: dict[str, object]) -> None:
    assert recorded_options(text.encode()) == expected


def test_a_lock_is_kept_where_it_is_replaced(project: Project) -> None:
    project.script("s.py", ["alpha"], PRINT_ALPHA)
    (project.path / "s.py.lock").write_text("version = 99\n")
    told = project.call("build", "s.py", status=3).stderr
    assert "is damaged, or from another uv" in told
    follow(project, told)
    assert (project.path / "s.py.lock.old").read_text() == "version = 99\n"
    assert project.call("exec", "s.py").stdout == "2.0\n"
