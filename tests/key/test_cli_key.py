"""`sharedenv key`, as a user calls it."""

from __future__ import annotations

import hashlib
import json
import os
import re

import pytest

from tests.conftest import UNPRIVILEGED, Project


def test_a_line_for_each_script_as_sha256sum_prints_it(project: Project) -> None:
    project.copies(2, ["alpha"])
    project.script("other.py", ["beta"])
    lines = project.call("key", "case*/script.py", "other.py").stdout.splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == ["case1/script.py", "case2/script.py", "other.py"]
    keys = [line.split("  ", 1)[0] for line in lines]
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)
    assert keys[0] == keys[1] != keys[2]
    assert not project.pool.exists()


def test_paths_are_written_as_they_were_asked_for(project: Project) -> None:
    path = project.script("case1/s.py")
    assert project.call("key", str(path)).stdout.endswith(f"  {path}\n")
    assert project.call("key", "../s.py", cwd=_made(project, "case1/deep")).stdout.endswith(f"  {path}\n")
    project.script("a\nb\\c.py")
    line = project.call("key", "a\nb\\c.py").stdout
    assert line.startswith("\\")
    assert line.endswith("  a\\nb\\\\c.py\n")


def _made(project: Project, name: str) -> str:
    (project.path / name).mkdir(parents=True)
    return os.fspath(project.path / name)


def test_the_document(project: Project) -> None:
    project.copies(3, ["Alpha >= 1.0"])
    value = json.loads(project.call("key", "--json", "case*/script.py").stdout)
    assert value["schema"] == 1
    assert value["errors"] == []
    keys = {script["key"] for script in value["scripts"]}
    assert [script["path"] for script in value["scripts"]] == [str(project.path / f"case{i}/script.py") for i in (1, 2, 3)]
    assert set(value["payloads"]) == keys
    payload = value["payloads"][keys.pop()]
    assert payload["dependencies"] == ["alpha>=1"]
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == value["scripts"][0]["key"]


def test_errors_are_in_the_document_too(project: Project) -> None:
    done = project.call("key", "--json", "nowhere.py", status=2)
    value = json.loads(done.stdout)
    assert value["schema"] == 1
    assert value["errors"][0]["exit_code"] == 2
    assert "nowhere.py" in value["errors"][0]["message"]


def test_bad_scripts_are_named_with_their_line(project: Project) -> None:
    project.script("bad.py", ["alpha >="])
    done = project.call("key", "bad.py", status=2)
    assert done.stdout == ""
    assert "bad.py:3" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_explanation_for_people(project: Project) -> None:
    project.script("s.py", ["beta", "alpha<2"], extra='[tool.uv]\nresolution = "lowest"')
    text = project.call("key", "--explain", "s.py", env={"UV_PRERELEASE": "allow"}).stdout
    assert re.search(r"^  requires-python +>=3\.8$", text, re.MULTILINE)
    assert re.search(r"^  dependencies +alpha<2\n +beta$", text, re.MULTILINE)
    assert re.search(r"^  tool\.uv +resolution = lowest$", text, re.MULTILINE)
    assert "UV_PRERELEASE = allow" in text


def test_an_explanation_leaves_nothing_out(project: Project) -> None:
    project.script("a/s.py")
    (project.path / "a/s.py.lock").write_text('[[package]]\nname = "x"\nsource = { directory = "../lib" }\n')
    text = project.call("key", "--explain", "a/s.py").stdout
    payload = json.loads(project.call("key", "--json", "a/s.py").stdout)["payloads"].popitem()[1]
    assert all(re.search(rf"^  {re.escape(name)} ", text, re.MULTILINE) for name in payload.keys() - {"schema"})
    assert re.search(r"^  lock-places +\./lib$", text, re.MULTILINE)


def test_what_differs_in_words(project: Project) -> None:
    project.script("a/script.py", ["numpy>=1.26", "scipy"])
    project.script("b/script.py", ["scipy"], requires_python=">=3.9")
    assert project.call("key", "--diff", "a/script.py", "b/script.py").stdout.splitlines() == [
        "dependencies: numpy>=1.26 only in a/script.py",
        "requires-python: >=3.8 in a/script.py, >=3.9 in b/script.py",
    ]
    project.script("c/script.py", ["SciPy"], requires_python=" >= 3.9.0")
    assert project.call("key", "--diff", "b/script.py", "c/script.py").stdout.startswith("nothing differs: b/script.py and c/script.py")
    assert project.call("key", "--diff", "b/script.py", "b/script.py").stdout.startswith("nothing differs")
    done = project.call("key", "--diff", "a/script.py", status=2)
    assert "--diff compares two scripts" in done.stderr
    assert project.call("key", "--diff", "--explain", "a/script.py", status=2).stdout == ""


def test_a_missing_environment_is_told_in_the_same_words(project: Project) -> None:
    project.script("s.py", ["alpha"])
    project.build("s.py")
    done = project.call("exec", "--no-build", "s.py", env={"UV_PRERELEASE": "allow"}, status=125)
    assert "differs in settings.UV_PRERELEASE (allow here, absent there)" in done.stderr


def test_the_python_request_is_in_the_key(project: Project) -> None:
    project.script("s.py")
    keys = [project.call("key", "s.py", *more).stdout.split()[0] for more in ([], ["--python", "3.11"])]
    keys.append(project.call("key", "s.py", env={"SHAREDENV_PYTHON": "3.11"}).stdout.split()[0])
    assert keys[0] != keys[1] == keys[2]


def test_no_credential_is_seen_anywhere(project: Project) -> None:
    secret = "hunter2secret"
    extra = f'[[tool.uv.index]]\nname = "own"\nurl = "https://me:{secret}@127.0.0.1:9/simple"\n'
    project.script("s.py", [f"alpha @ https://{secret}@127.0.0.1:9/alpha-1.0-py3-none-any.whl"], extra=extra)
    env = {"UV_EXTRA_INDEX_URL": f"https://{secret}@127.0.0.1:9/more", "UV_INDEX_OWN_PASSWORD": secret}
    (project.path / "uv.toml").write_text(f'find-links = ["http://127.0.0.1:9/?token={secret}"]\n')
    shown = ""
    for more in ([], ["--json"], ["--explain"]):
        done = project.call("key", *more, "s.py", env=env)
        shown += done.stdout + done.stderr
    for more in (["build"], ["build", "--json"], ["-v", "build"], ["which"]):
        done = project.call(*more, "s.py", env=env, status=None)
        shown += done.stdout + done.stderr
    assert secret not in shown
    assert "127.0.0.1:9" in shown
    for folder, _, names in os.walk(project.pool):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert secret.encode() not in file.read(), os.path.join(folder, name)


@pytest.mark.parametrize(
    ("needs", "extra"),
    [
        (["alpha @ https://me:{}@x.org/alpha"], ""),
        (["alpha @ https://{}@x.org/a.whl;os_name=='x'"], ""),
        (["alpha @ https://x.org/a?private_token={}"], ""),
        (["alpha @ git+https://{}@x.org/a@b@c"], ""),
        (["alpha https://{}@x.org/a.whl"], ""),
        ([], '[tool.uv]\nconstraint-dependencies = ["alpha @ https://{}@x.org/alpha"]'),
        ([], '[tool.uv]\nindex-strategy = "https://{}@x.org"'),
        ([], '[tool.uv]\nindex = [{{ name = "https://{}@x.org", url = "https://x.org" }}]'),
        ([], '[tool.uv.sources]\nalpha = {{ git = "ftp://me:{}@x.org/a" }}'),
        ([], '[tool.uv.sources]\nalpha = {{ url = "https://{}@x.org/a" }}'),
    ],
)
def test_no_credential_is_seen_in_the_words_about_what_is_wrong(project: Project, needs: list[str], extra: str) -> None:
    project.script("s.py", [need.format("hunter2secret") for need in needs], extra=extra.format("hunter2secret"))
    for more in ([], ["--json"]):
        done = project.call("key", *more, "s.py", status=2)
        assert "s.py" in done.stdout + done.stderr
        assert "hunter2secret" not in done.stdout + done.stderr


def test_a_misspelt_key_of_the_block_is_told_once(project: Project) -> None:
    text = "# /// script\n# dependences = []\n# other = 1\n# ///\n"
    for i in (1, 2, 3):
        project.script(f"case{i}/s.py").write_text(text)
    project.script("tool.py", extra="[tool.other]\nunknown = 1")
    for command in ("key", "build"):
        lines = project.call(command, "case*/s.py", "tool.py").stderr.splitlines()
        assert [line for line in lines if "unknown" in line] == [
            "warning: case1/s.py:2: unknown key `dependences`; did you mean `dependencies`? (in 3 scripts)",
            "warning: case1/s.py:3: unknown key `other`; it is ignored (in 3 scripts)",
        ]
    assert project.call("-q", "key", "case1/s.py").stderr == ""
    project.script("case1/s.py").write_text("# /// script\n# requires_python = '>=3.8'\n# ///\n")
    assert "case1/s.py:2: unknown key `requires_python`; did you mean `requires-python`?\n" in project.call("build", "case1/s.py").stderr


def test_an_opening_line_that_is_nearly_one_is_named(project: Project) -> None:
    for line in ("#/// script", "# ///script", "#///script "):
        project.script("s.py").write_text(f"import os\n{line}\n# dependencies = []\n# ///\n")
        done = project.call("key", "s.py", status=2)
        assert "s.py:2" in done.stderr and "must be `# /// script`" in done.stderr
        assert "uv init" not in done.stderr


def test_a_lock_file_that_may_not_be_looked_at_is_an_error(project: Project) -> None:
    """Taken for none, it would give two users of the same files two keys."""
    project.script("a.py")
    (project.path / "closed").mkdir()
    (project.path / "closed/lock").write_text("version = 1\n")
    (project.path / "a.py.lock").symlink_to("closed/lock")
    (project.path / "closed").chmod(0)
    told = project.call("key", "a.py", status=2, prefix=UNPRIVILEGED).stderr
    (project.path / "closed").chmod(0o755)
    assert "its lock file can't be read: permission denied" in told
