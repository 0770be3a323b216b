"""`exec` and `which`: the script itself, in its environment, with its own status."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import Project

SHOW = """
import json, os, sys
print(json.dumps({"argv": sys.argv, "cwd": os.getcwd(), "prefix": sys.prefix, "env": dict(os.environ), "pid": os.getpid()}))
"""


def test_exec_becomes_the_script(project: Project) -> None:
    project.script("case1/script.py", ["alpha"], SHOW + "sys.exit(7)")
    process = project.start("exec", "case1/script.py", "a", "--python", "-x", "--", "b c")
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 7, stderr
    seen = json.loads(stdout)
    (environment,) = project.environments
    assert seen["argv"] == ["case1/script.py", "a", "--python", "-x", "--", "b c"]
    assert seen["cwd"] == str(project.path)
    assert seen["prefix"] == seen["env"]["VIRTUAL_ENV"] == str(environment)
    assert seen["env"]["PATH"].split(":")[0] == str(environment / "bin")
    assert seen["pid"] == process.pid


def test_misleading_variables_do_not_reach_the_script(project: Project) -> None:
    project.script("a.py", ["alpha"], SHOW)
    seen = json.loads(project.call("exec", "a.py", env={"VIRTUAL_ENV": "/somewhere"}).stdout)
    assert seen["env"]["VIRTUAL_ENV"] == str(project.environments[0])
    # PYTHONHOME would keep our own Python from starting; it is looked at where the variables are made
    from sharedenv.start.environ import environ_in

    assert "PYTHONHOME" not in environ_in("/env", {"PYTHONHOME": "/x", "PATH": "/bin"})


def test_a_signal_is_the_scripts_own_end(project: Project) -> None:
    project.script("a.py", ["alpha"], "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)")
    done = project.call("exec", "a.py", status=None)
    assert done.returncode == -signal.SIGTERM


def test_a_name_that_looks_like_an_option_is_a_scripts(project: Project) -> None:
    for name in ("-s.py", "-c"):
        project.script(name, ["alpha"], "import sys\nprint(sys.argv)")
        for _ in range(2):
            assert project.call("exec", "--", name, "print('no')").stdout == f"['./{name}', \"print('no')\"]\n"


def test_our_own_failure_is_125(project: Project) -> None:
    assert "missing.py" in project.call("exec", "missing.py", status=125).stderr
    project.script("a.py", ["alpha==9.9"])
    assert "no version of alpha" in project.call("exec", "a.py", status=125).stderr
    project.script("b.py", ["alpha"])
    done = project.call("exec", "--no-build", "b.py", status=125)
    assert "sharedenv build b.py" in done.stderr
    assert not project.environments
    assert "missing argument" in project.call("exec", status=125).stderr
    assert "no such option '--nonsense'" in project.call("exec", "--nonsense", "b.py", status=125).stderr
    assert "SHAREDENV_VERBOSE: " in project.call("exec", "b.py", env={"SHAREDENV_VERBOSE": "maybe"}, status=125).stderr
    assert "no such option '--colour'" in project.call("--colour", "always", "exec", "b.py", status=125).stderr
    assert "no such option '--colour'" in project.call("--pool", "exec", "--colour=always", "build", "b.py", status=2).stderr


def test_which_tells_programs_of_each_script(project: Project) -> None:
    project.script("a b.py", ["alpha"])
    project.script("sub/b.py", ["beta"])
    project.call("build", "a b.py")
    done = project.call("which", "--json", "sub/b.py", "a b.py", status=1)
    document = json.loads(done.stdout)
    lacking, there = document["scripts"]
    keys = [line.split()[0] for line in project.call("key", "sub/b.py", "a b.py").stdout.splitlines()]
    [environment] = project.environments
    version = ".".join(map(str, sys.version_info[:3]))
    nothing = {"environment": None, "python": None, "python_version": None}
    assert lacking == {"path": str(project.path / "sub/b.py"), "key": keys[0], **nothing}
    assert there == {
        "path": str(project.path / "a b.py"), "key": keys[1], "environment": str(environment),
        "python": f"{environment}/bin/python", "python_version": version,
    }  # fmt: skip
    [error] = document["errors"]
    assert error["hint"] == "sharedenv build sub/b.py"
    assert error["exit_code"] == 1
    assert done.stderr == ""


def test_which_tells_programs_of_scripts_of_several_pools(project: Project) -> None:
    for name in ("one", "two"):
        project.script(f"{name}/s.py", ["alpha"])
        project.call("init", name)
        project.call("build", f"{name}/s.py")
    scripts = json.loads(project.call("which", "--json", "two/s.py", "one/s.py").stdout)["scripts"]
    assert [script["python"].removeprefix(f"{project.path}/").split("/")[0] for script in scripts] == ["two", "one"]
    assert [script["python"] for script in scripts] == project.call("which", "two/s.py", "one/s.py").stdout.splitlines()
    assert [script["python"] for script in json.loads(project.call("which", "one/s.py", env={"SHAREDENV_JSON": "1"}).stdout)["scripts"]]


def test_which_prints_each_interpreter_in_the_order_asked(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.script("b.py", ["beta"])
    assert project.call("which", "a.py", status=1).stdout == ""
    project.build("a.py")
    done = project.call("which", "a.py", "b.py", "a.py", status=1)
    python = Path(done.stdout.splitlines()[0])
    assert python.parent.parent == project.environments[0]
    assert "b.py" in done.stderr
    project.build("b.py")
    lines = project.call("which", "b.py", "a.py").stdout.splitlines()
    assert len(lines) == 2
    assert lines[1] == str(python)
    version = subprocess.run([lines[0], "-V"], capture_output=True, text=True, check=True).stdout
    assert version.split()[1] == ".".join(map(str, sys.version_info[:3]))
