"""verify: whatever was done to an environment is found and named, and --repair builds it anew."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import Project, opened


def built(project: Project, *dependencies: str) -> Path:
    """A project with one script, built; its environment."""
    project.script("s.py", dependencies or ["alpha"], "import alpha; print(alpha.VERSION)")
    project.build("s.py")
    return project.environments[0]


def module(environment: Path, name: str = "alpha.py") -> Path:
    """A module of an environment."""
    (found,) = environment.glob(f"lib/python*/site-packages/{name}")
    return found


def replace(path: Path, text: str) -> None:
    """Another file in its place: its inode is uv's cache, which other tests use."""
    with opened(path.parent):
        path.unlink()
        path.write_text(text)


def result(project: Project, *arguments: str, status: int = 1) -> dict[str, Any]:
    """The one environment in `verify --json`."""
    document = json.loads(project.call("verify", "--json", *arguments, status=status).stdout)
    assert document["schema"] == 1
    environment: dict[str, Any]
    (environment,) = document["environments"]
    return environment


def test_a_sound_environment_passes_after_its_script_ran(project: Project) -> None:
    built(project, "alpha", "tool")
    project.call("exec", "s.py")
    found = result(project, status=0)
    assert found["sound"] and found["files"] > 5
    assert found["changed"] == found["missing"] == found["unrecorded"] == found["faults"] == []


def test_what_changed_is_missing_or_was_added_is_named(project: Project) -> None:
    environment = built(project, "alpha", "tool")
    site = module(environment).parent
    size = module(environment).stat().st_size
    with opened(environment):
        replace(module(environment), "x" * size)  # the same size: only the hash tells
        (environment / "bin" / "tool").unlink()
        (site / "added.py").write_text("import os\n")
        (site / "folder").mkdir()
    found = result(project)
    inside = site.relative_to(environment)
    assert found["changed"] == [f"{inside}/alpha.py"]
    assert found["missing"] == ["bin/tool"]
    assert found["unrecorded"] == [f"{inside}/added.py", f"{inside}/folder"]
    told = project.call("verify", status=1)
    assert "1 entry changed; 1 entry missing; 2 entries that nobody recorded" in told.stdout
    assert f"  changed: {inside}/alpha.py" in told.stdout
    assert "0 of 1 environment sound" in told.stderr
    assert told.stderr.endswith("\nhint: sharedenv verify --repair\n")


def test_a_link_or_a_fifo_in_the_place_of_a_file_is_a_change_and_is_not_followed(project: Project, tmp_path: Path) -> None:
    environment = built(project, "alpha", "tool")
    copy = tmp_path / "same"
    shutil.copy(module(environment), copy)
    with opened(environment):
        module(environment).unlink()
        module_path = next(environment.glob("lib/python*/site-packages")) / "alpha.py"
        module_path.symlink_to(copy)  # the same bytes behind it, and still not what was built
        (environment / "bin" / "tool").unlink()
        os.mkfifo(environment / "bin" / "tool")
    assert len(result(project)["changed"]) == 2


def test_bytecode_that_python_added_is_no_fault_and_other_additions_are(project: Project) -> None:
    environment = built(project)
    cache = module(environment).parent / "__pycache__"
    with opened(cache):
        (cache / "alpha.cpython-311.opt-1.pyc").write_bytes(b"")
    found = result(project, status=0)
    assert found["bytecode_added"] == 1
    with opened(cache):
        (cache / "stranger.cpython-311.pyc").write_bytes(b"")
    assert result(project)["unrecorded"] == [str((cache / "stranger.cpython-311.pyc").relative_to(environment))]


def test_inventory_and_manifest_guard_each_other(project: Project) -> None:
    environment = built(project)
    inventory = environment / "sharedenv.inventory"
    original = inventory.read_text()
    inventory.write_text(original.replace('"links"', '"links" '))
    assert result(project)["faults"] == ["its inventory has been changed"]
    with opened(environment):
        inventory.unlink()
    assert result(project)["faults"] == ["its inventory is gone"]
    with opened(environment):
        inventory.write_text(original)
    manifest = environment / "sharedenv.json"
    manifest.write_text(manifest.read_text().replace('"alpha"', '"omega"'))
    assert result(project)["faults"] == ["its manifest has been changed: payload and key differ"]


def test_repair_builds_a_new_generation_and_leaves_the_old_to_those_who_run_in_it(project: Project) -> None:
    environment = built(project)
    replace(module(environment), "VERSION = 'changed'\n")
    told = project.call("verify", "--repair")
    assert "0 of 1 environment sound, 1 repaired (" in told.stderr
    old, new = project.environments
    assert old == environment and module(old).read_text() == "VERSION = 'changed'\n"
    assert project.call("exec", "s.py").stdout == "2.0\n"
    assert project.call("which", "s.py").stdout.strip().startswith(str(new))
    assert f"repaired {old.name} as {new.name}" in told.stderr
    again = project.call("verify")
    assert f"{old.name} (replaced by {new.name}): 1 entry changed" in again.stdout
    assert "1 of 1 environment sound" in again.stderr and "hint" not in again.stderr
    project.call("verify", new.name)


def test_what_a_clock_that_was_ahead_has_built_is_repaired_and_rebuilt(project: Project) -> None:
    environment = built(project)
    replace(module(environment), "VERSION = '0.0'\n")
    manifest = environment / "sharedenv.json"
    value = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**value, "built": value["built"] + 600}))
    assert f"repaired {environment.name} as " in project.call("verify", "--repair").stderr
    _, new = project.environments
    value = json.loads((new / "sharedenv.json").read_text())
    (new / "sharedenv.json").write_text(json.dumps({**value, "built": value["built"] + 600}))
    project.call("build", "--rebuild", "s.py")
    assert len(project.environments) == 3


def test_repair_goes_past_a_cache_that_was_edited_through_a_hard_link(project: Project, tmp_path: Path) -> None:
    project.env["UV_CACHE_DIR"] = str(tmp_path / "own-cache")
    environment = built(project)
    assert module(environment).stat().st_nlink > 1, "uv's cache and the pool share inodes here"
    with module(environment).open("r+") as file:
        file.write("VERSION = 'edited in place'\n")  # uv's cache has this edit now
    project.call("verify", "--repair")
    assert "edited" not in module(project.environments[1]).read_text()
    project.call("verify", project.environments[1].name)


def test_repair_says_what_to_do_when_the_manifest_is_gone(project: Project) -> None:
    environment = built(project)
    with opened(environment):
        (environment / "sharedenv.json").unlink()
    told = project.call("verify", "--repair", status=3)
    assert "can't be built anew from its manifest" in told.stderr
    assert "hint: sharedenv build 'case*/script.py'" in told.stderr
    project.build("s.py")
    assert project.call("exec", "s.py").stdout


def test_keys_are_named_by_any_beginning_that_is_one_keys_alone(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.script("b.py", ["beta"])
    project.build("a.py", "b.py")
    key = project.call("key", "a.py").stdout.split()[0]
    other = project.call("key", "b.py").stdout.split()[0]
    digits = next(count for count in range(1, 64) if key[:count] != other[:count])
    assert result(project, key[:digits], status=0)["key"] == key
    assert result(project, key, status=0)["key"] == key
    for name in ("nothing", "0" * 64):
        told = project.call("verify", "--json", "--", name, status=2)
        assert "no environment's key begins with" in json.loads(told.stdout)["errors"][0]["message"]
    for name in ("../envs", "-x"):
        assert json.loads(project.call("verify", "--json", "--", name, status=2).stdout)["errors"]
    shown = json.loads(project.call("show", "--json", key[:12]).stdout)["environment"]
    assert shown["packages"] == {"alpha": "2.0"} and shown["published"]
    assert json.loads(project.call("show", "--json", "a.py").stdout)["environment"] == shown


def test_scripts_are_verified_as_keys_are(project: Project) -> None:
    project.copies(3, ["alpha"])
    project.script("b.py", ["beta"])
    project.call("build", "case*/script.py", "b.py")
    key = project.call("key", "b.py").stdout.split()[0]
    assert "1 of 1 environment sound" in project.call("verify", "case*/script.py").stderr
    assert "2 of 2 environments sound" in project.call("verify", "case2/script.py", key[:12], "b.py").stderr
    project.script("c.py", ["gamma"])
    assert "the environment of c.py is not built\n\nhint: sharedenv build c.py" in project.call("verify", "b.py", "c.py", status=1).stderr
    [alpha] = [one for one in project.environments if not one.name.startswith(key[:12])]
    [changed] = alpha.glob("lib/python*/site-packages/alpha.py")
    changed.parent.chmod(0o755)
    changed.unlink()
    assert "hint: sharedenv verify --repair case1/script.py" in project.call("verify", "case1/script.py", status=1).stderr
    assert "repaired" in project.call("verify", "--repair", "case1/script.py").stderr


def test_show_and_list_tell_what_is_there(project: Project) -> None:
    built(project, "beta")
    shown = project.call("show", "s.py").stdout
    for words in ("key:", "beta", "alpha", "built for:", "s.py", "with uv", "no particular libc"):
        assert words in shown
    listed = json.loads(project.call("list", "--json").stdout)
    assert listed["schema"] == 1 and listed["errors"] == []
    (environment,) = listed["environments"]
    assert environment["usable"] and environment["uv"] and environment["in_use"] == []
    missing = project.script("other.py", ["gamma"])
    told = project.call("show", str(missing), status=1)
    assert "is not built" in told.stderr
    project.call("build", "--rebuild", "s.py")
    names = [line.split()[0] for line in project.call("list").stdout.splitlines()[1:]]
    assert len(set(names)) == 2, "of two generations of a key each has a name"
    for name in names:
        assert f"envs/{name}" in project.call("show", name).stdout


def test_show_counts_the_scripts_it_does_not_name(project: Project) -> None:
    project.copies(5)
    project.call("build", "case*/script.py")
    assert "case1/script.py, case2/script.py, case3/script.py and 2 more" in project.call("show", "case1/script.py").stdout
    shown = json.loads(project.call("show", "--json", "case1/script.py").stdout)["environment"]
    assert len(shown["scripts"]) == 3 and shown["scripts_count"] == 5
