"""`activate` in the shells that people have: what a job script sees afterwards, and that it never goes on without."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sharedenv.errors import SharedenvError
from sharedenv.start.activation import activation, shell_of, taskprolog
from tests.conftest import Project
from tests.faults import wait_for

#: program → how its users evaluate a command's output
EVALUATIONS = {
    "bash": 'eval "$({})"',
    "dash": 'eval "$({})"',
    "zsh": 'eval "$({})"',
    "tcsh": 'eval "`{}`"',
    "fish": "eval ({})",
}

NAMES = ["plain", "two words", "it's", "$HOME `false` $(false)", 'a"b', "back\\slash", "bang!", "semi;colon&*?", "ä漢"]


def shell(program: str, code: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"no {program} on this machine")
    script = cwd / "job"
    script.write_text(code + "\n")
    options = {"bash": ["-eu"], "dash": ["-eu"], "zsh": ["-eu"], "tcsh": ["-f"], "fish": ["--no-config"]}[program]
    return subprocess.run(
        [path, *options, script],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def kind_of(program: str) -> str:
    return shell_of({"SHELL": f"/usr/bin/{program}"})


@pytest.mark.parametrize("program", EVALUATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_path_and_back_again(program: str, name: str, tmp_path: Path) -> None:
    """PATH and VIRTUAL_ENV are set, PYTHONHOME and PYTHONEXECUTABLE are not, a second activation replaces the first, deactivate restores all."""
    environments = [tmp_path / f"{number} {name}" for number in (1, 2)]
    for number, environment in enumerate(environments):
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "hello").write_text(f"#!/bin/sh\necho hello from {number}\n")
        (environment / "bin" / "hello").chmod(0o755)
        (tmp_path / f"code{number}").write_text(activation(str(environment), kind_of(program), "prompt"))
    evaluate = [EVALUATIONS[program].format(f"cat code{number}") for number in (0, 1)]
    env = {"PATH": "/usr/bin:/bin", "PYTHONHOME": "/somewhere", "PYTHONEXECUTABLE": "/some python", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    code = "\n".join([evaluate[0], "hello", evaluate[1], "hello", "env", "echo END", "deactivate", "env"])
    done = shell(program, code, env, tmp_path)
    assert done.returncode == 0, done.stderr
    active, _, after = done.stdout.partition("END\n")
    assert active.startswith("hello from 0\nhello from 1\n")
    assert f"\nVIRTUAL_ENV={environments[1]}\n" in active
    assert f"\nPATH={environments[1]}/bin:/usr/bin:/bin\n" in active
    assert "PYTHONHOME=" not in active and "PYTHONEXECUTABLE=" not in active
    assert "PATH=/usr/bin:/bin\n" in after
    assert "VIRTUAL_ENV" not in after
    if program != "tcsh":  # as venv's own activate.csh
        assert "PYTHONHOME=/somewhere\n" in after and "PYTHONEXECUTABLE=/some python\n" in after


@pytest.mark.parametrize("program", EVALUATIONS)
def test_a_script_runs_in_its_environment(program: str, project: Project) -> None:
    """The line from the manual, whatever the login shell; console scripts work too. The second time goes the fast way."""
    project.script("case1/script.py", ["tool"], "import tool; print('imported')")
    command = "sharedenv -q activate case1/script.py"
    env = {**project.env, "SHELL": "/bin/bash" if program in ("tcsh", "fish") else "/bin/tcsh", "HOME": str(project.path)}
    env["PATH"] = f"{project.command}:{env['PATH']}"
    for _ in range(2):
        done = shell(program, f"{EVALUATIONS[program].format(command)}\npython case1/script.py\ntool", env, project.path)
        assert done.returncode == 0, done.stderr
        [environment] = project.environments
        assert done.stdout == f"imported\ntool in {environment}\n"


@pytest.mark.parametrize("program", EVALUATIONS)
def test_a_job_script_ends_when_there_is_no_environment(program: str, project: Project) -> None:
    """Without `set -e` too: the job must not go on with another Python."""
    project.script("case1/script.py", ["alpha"])
    env = {**project.env, "SHELL": shutil.which(program) or "/bin/none", "HOME": str(project.path)}
    env["PATH"] = f"{project.command}:{env['PATH']}"
    for command in ("sharedenv activate --no-build case1/script.py", "sharedenv activate missing.py"):
        code = f"{EVALUATIONS[program].format(command)}\necho went on"
        done = shell(program, ("set +e; " if program in ("bash", "dash", "zsh") else "") + code, env, project.path)
        assert done.returncode != 0
        assert "went on" not in done.stdout
        assert "error: " in done.stderr
    assert not project.environments


#: arguments of `activate`, and variables, that fail at each place where it can
FAILURES = {
    "an option that is none": (["--no-biuld", "case1/script.py"], {}),
    "no script": ([], {}),
    "a variable that can't be read": (["case1/script.py"], {"SHAREDENV_LOCK_TIMEOUT": "maybe"}),
    "a variable of every command": (["case1/script.py"], {"SHAREDENV_VERBOSE": "maybe"}),
    "no prolog, by its variable": (["nowhere.py"], {"SHAREDENV_TASKPROLOG": "0"}),
    "no memory": (["large.py"], {}),
    "the folder is gone": (["case1/script.py"], {}),
}


@pytest.mark.parametrize("program", EVALUATIONS)
def test_a_job_script_ends_whatever_fails(program: str, project: Project) -> None:
    """Usage errors, bad variables, errors that nobody thought of."""
    project.script("case1/script.py", [])
    os.truncate(project.script("large.py", []), 2 << 30)
    project.build("case1/script.py")
    env = {**project.env, "SHELL": shutil.which(program) or "/bin/none", "HOME": str(project.path)}
    env["PATH"] = f"{project.command}:{env['PATH']}"
    for what, (words, variables) in FAILURES.items() if program == "bash" else list(FAILURES.items())[:1]:
        before = {"no memory": "ulimit -v 300000", "the folder is gone": 'mkdir "$PWD/gone"; cd "$PWD/gone"; rmdir "$PWD"'}.get(what, ":")
        code = f"{before}\n{EVALUATIONS[program].format(shlex.join(['sharedenv', 'activate', *words]))}\necho went on"
        done = shell(program, ("set +eu; " if program in ("bash", "dash", "zsh") else "") + code, {**env, **variables}, project.path)
        assert "went on" not in done.stdout, what
        assert done.returncode != 0, what
        assert "error: " in done.stderr, (what, done.stderr)
    told = project.call("activate", "--shell=fish", "--nonsense", status=2).stdout
    assert told == project.call("activate", env={"SHAREDENV_SHELL": "fish", "SHAREDENV_QUIET": "maybe"}, status=2).stdout
    assert told.startswith("status is-interactive")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_job_script_ends_when_a_signal_ends_the_build(number: int, project: Project, tmp_path: Path) -> None:
    stuck = tmp_path / "uv"  # a build that takes its time
    stuck.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 60\n")
    stuck.chmod(0o755)
    project.script("case1/script.py", ["alpha"])
    process = project.start("activate", "case1/script.py", env={"SHAREDENV_UV": str(stuck), "SHELL": "/bin/bash"})
    wait_for((tmp_path / "begun").exists)
    process.send_signal(number)
    assert "exit 1" in process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number


def test_taskprolog_lines(project: Project) -> None:
    project.script("case1/script.py", ["alpha"])
    assert project.call("activate", "--taskprolog", "--nonsense", status=2).stdout == ""
    lines = project.call("activate", "--taskprolog", "case1/script.py").stdout.splitlines()
    [environment] = project.environments
    assert lines == [
        f"export VIRTUAL_ENV={environment}",
        f"export PATH={environment}/bin:{project.env['PATH']}",
        "unset PYTHONHOME",
        "unset PYTHONEXECUTABLE",
    ]


def test_a_taskprolog_that_fails_prints_why(project: Project) -> None:
    """Slurm drops its stderr, and passes on to the task's output what it prints in Slurm's own way."""
    project.script("case1/script.py", ["alpha"])
    lines = project.call("activate", "--no-build", "--taskprolog", "case1/script.py", status=3).stdout.splitlines()
    assert lines[0].startswith("print error: ")
    assert lines[-1] == "print hint: sharedenv build case1/script.py"
    assert all(line.startswith("print ") for line in lines)


def test_no_build_says_what_to_do(project: Project) -> None:
    project.script("case1/script.py", ["alpha"])
    done = project.call("activate", "--no-build", "case1/script.py", status=3)
    assert "hint: sharedenv build case1/script.py" in done.stderr


@pytest.mark.parametrize(("kind", "path"), [("sh", "/a:b"), ("csh", "/a\nb"), ("fish", "/a:b"), ("fish", "/a\nb")])
def test_what_path_can_t_hold_is_refused(kind: str, path: str) -> None:
    with pytest.raises(SharedenvError):
        activation(path, kind, "prompt")


def test_taskprolog_refuses_a_line_break() -> None:
    for environment, path in (("/a\nb", "/bin"), ("/a", "/b\nin")):
        with pytest.raises(SharedenvError):
            taskprolog(environment, {"PATH": path})


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/bin/bash", "sh"), ("/usr/bin/fish", "fish"), ("/bin/tcsh", "csh"), ("/bin/odd", "sh"), ("", "sh")],
)
def test_the_shell_is_known_from_its_name(path: str, kind: str) -> None:
    assert shell_of({"SHELL": path}) == kind
    assert shell_of({"SHELL": path}, "/usr/bin/python3") == kind
    assert shell_of({"SHELL": path}, "/usr/bin/tcsh") == "csh"
