"""What the suite forks (tests/starter.py) is as what a user starts."""

from __future__ import annotations

import pytest

from tests.conftest import Project

TELLS = """\
import json, os, signal, sys
own = ("SHAREDENV_CASE_RUN", "SHAREDENV_CASE_LAUNCH")  # of one run
told = {name: value for name, value in os.environ.items() if name not in own}
signals = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)]
print(json.dumps([told, os.getcwd(), os.umask(0), signals, sorted(os.listdir("/proc/self/fd")), list(signal.pthread_sigmask(0, [])), sys.argv]))
sys.exit(len(sys.argv))
"""


@pytest.mark.parametrize("words", [("run", "case1/script.py", "--", "a b", "ä"), ("run", "nowhere.py"), ("no-command",), ("--version",), ("key", "case1/script.py")])
def test_what_is_forked_is_as_what_is_started(project: Project, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    project.script("case1/script.py", body=TELLS)
    project.call("build", "case1/script.py")
    if not project.starter:
        pytest.skip("all starts are real ones: TEST_REAL_STARTS, or a system that can't wait for a process by a descriptor")
    assert project.starter.takes(words, project.env, project.path)
    forked = project.call(*words, status=None)
    monkeypatch.setattr(Project, "starter", None)
    started = project.call(*words, status=None)
    assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
    assert words[0] == "run" or forked.stderr == started.stderr


@pytest.mark.parametrize("variables", [{"PYTHONUTF8": "1"}, {"LC_ALL": "C"}, {"LD_PRELOAD": ""}, {"TZ": "UTC"}])
def test_what_python_reads_at_its_start_asks_for_a_real_one(project: Project, variables: dict[str, str]) -> None:
    assert not project.starter or not project.starter.takes(("key",), {**project.env, **variables}, project.path)
