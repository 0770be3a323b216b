"""Completion of command lines, as somebody at a terminal meets it."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Project

_END = "the end of what it said"


class Terminal:
    """bash at a terminal, its completion set up as README says."""

    def __init__(self, project: Project) -> None:
        self._descriptor, theirs = os.openpty()
        env = {**project.env, "PATH": f"{project.command}:{project.env['PATH']}", "PS1": "", "TERM": "dumb", "INPUTRC": "/dev/null"}
        options = {"env": env, "cwd": project.path, "stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
        self._bash = subprocess.Popen(["bash", "--norc", "--noprofile", "-i"], **options)  # type: ignore[call-overload]  # as options say
        os.close(theirs)
        self.type('eval "$(_SHAREDENV_COMPLETE=bash_source sharedenv)"')

    def type(self, line: str) -> str:
        """What a line, typed with its tabs, prints."""
        os.write(self._descriptor, f"{line}; echo '{_END[:5]}''{_END[5:]}'\n".encode())
        said, deadline = b"", time.monotonic() + 60  # bytes: a read may end in the middle of a letter
        while f"{_END}\r\n".encode() not in said:
            ready, _, _ = select.select([self._descriptor], [], [], deadline - time.monotonic())
            assert ready, said
            said += os.read(self._descriptor, 65536)
        return said.decode()

    def close(self) -> None:
        """Leaves it."""
        self._bash.kill()
        self._bash.wait()
        os.close(self._descriptor)


@pytest.fixture
def terminal(project: Project) -> Iterator[Terminal]:
    if shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    terminal = Terminal(project)
    yield terminal
    terminal.close()


def test_bash_completes_commands_options_scripts_and_runs(project: Project, terminal: Terminal) -> None:
    project.script("case1/script.py", ["alpha"], "import alpha; print('it ran')")
    assert "it ran" in terminal.type("sharedenv ru\t --fail\t ca\ts\t")
    assert "1 script in " in terminal.type("sharedenv stat\t 2\t")
    assert "nothing to run" in terminal.type("sharedenv --po\t .sharede\t run --resume --run-id 2\t")
    assert "bash: " not in terminal.type("sharedenv no-such-command \t")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_code(project: Project, shell: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} on this machine")
    code = project.call("--help", env={"_SHAREDENV_COMPLETE": f"{shell}_source"}).stdout
    done = subprocess.run([path, "-n"], input=code, env=project.env, capture_output=True, text=True, check=True)
    assert done.stderr == "" and "sharedenv" in code


@pytest.mark.parametrize("first", ["compinit", "sharedenv"])
def test_zsh_completes_whatever_comes_first(project: Project, first: str) -> None:
    """Put before compinit, it said "command not found: compdef", and nothing was completed."""
    if shutil.which("zsh") is None:
        pytest.skip("no zsh on this machine")
    lines = ["autoload -Uz compinit && compinit -u -D", 'eval "$(_SHAREDENV_COMPLETE=zsh_source sharedenv)"']
    (project.path / ".zshrc").write_text("\n".join(lines if first == "compinit" else reversed(lines)))
    env = {**project.env, "PATH": f"{project.command}:{project.env['PATH']}", "ZDOTDIR": str(project.path), "PS1": "", "TERM": "dumb"}
    typed = "print -- $_comps[sharedenv]; print -- ${#precmd_functions}\nprint -- ${#precmd_functions}\n"
    done = subprocess.run(["zsh", "-d", "-i"], input=typed, env=env, cwd=project.path, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["_sharedenv_completion", "0", "0"], done
    assert "compdef" not in done.stderr
