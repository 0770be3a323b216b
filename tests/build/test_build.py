"""Building: one environment a key, whoever asks and however often, and nothing half-built ever taken as ready."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sharedenv.pool.owner import is_alive
from tests.conftest import Project, opened
from tests.faults import preloaded


def entries(folder: Path) -> dict[str, tuple[int, int]]:
    """Every entry below a folder: size and inode."""
    return {str(path): (path.lstat().st_size, path.lstat().st_ino) for path in folder.rglob("*")}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Polls until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_one_environment_for_all_copies(project: Project) -> None:
    project.copies(20, ["beta"])
    done = project.call("build", "case*/script.py")
    assert len(project.environments) == 1
    assert "built 1 environment for 20 scripts (" in done.stderr
    assert "; 19 more would each have had its own)" in done.stderr
    modules = project.environments[0] / "lib"
    assert [path.name for path in modules.rglob("alpha.py")] == ["alpha.py"]
    manifest = json.loads((project.environments[0] / "sharedenv.json").read_text())
    assert [package["name"] for package in manifest["packages"]] == ["alpha", "beta"]
    assert manifest["packages"][0]["version"] == "1.1"
    assert manifest["payload"]["dependencies"] == ["beta"]


def test_a_second_build_touches_nothing(project: Project) -> None:
    project.copies(3, ["alpha"])
    project.call("build", "case*/script.py")
    before = entries(project.pool)
    project.copies(30, ["alpha"])
    done = project.call("build", "case*/script.py", env={"SHAREDENV_UV": "/nonexistent"})  # no uv is needed any more
    assert entries(project.pool) == before
    assert "1 environment for 30 scripts ready" in done.stderr


def test_a_relative_cache_is_that_of_the_current_folder(project: Project) -> None:
    """As uv's own page on GitLab CI has it; uv is started in the staging folder, which goes."""
    project.script("script.py", ["alpha"])
    project.call("build", "script.py", env={"UV_CACHE_DIR": ".uv-cache"})
    module = next(project.environments[0].glob("lib/python3*/site-packages/alpha.py"))
    assert any(module.samefile(cached) for cached in (project.path / ".uv-cache").rglob("alpha.py"))


def test_nothing_is_left_in_tmpdir(project: Project, tmp_path: Path) -> None:
    project.copies(2, ["alpha"])
    project.script("other/script.py", ["nowhere-to-be-found"])  # fails
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    project.call("build", "*/script.py", status=3, env={"TMPDIR": str(scratch)})
    project.call("build", "--rebuild", "case1/script.py", env={"TMPDIR": str(scratch)})
    assert len(project.environments) == 2
    assert list(scratch.iterdir()) == []


def test_each_key_its_own_environment(project: Project) -> None:
    project.script("a/script.py", ["alpha==1.0"])
    project.script("b/script.py", ["alpha==2.0"])
    project.call("build", "a/script.py", "b/script.py")
    interpreters = project.call("which", "a/script.py", "b/script.py").stdout.split()
    versions = [
        subprocess.run([python, "-c", "import alpha; print(alpha.VERSION)"], capture_output=True, text=True, check=True)
        for python in interpreters
    ]
    assert [done.stdout.strip() for done in versions] == ["1.0", "2.0"]


def test_bytecode_is_compiled_unless_told_otherwise(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.script("b.py", ["alpha>=1"])
    project.call("build", "a.py")
    assert list(project.environments[0].rglob("alpha.*.pyc"))
    project.call("build", "b.py", "--no-compile")
    (other,) = [path for path in project.environments if not list(path.rglob("alpha.*.pyc"))]
    assert list(other.rglob("alpha.py"))


def test_console_scripts_run_from_the_pool(project: Project) -> None:
    project.script("a.py", ["tool"])
    project.call("build", "a.py")
    (environment,) = project.environments
    done = subprocess.run([environment / "bin" / "tool"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"tool in {environment}"


def test_folders_are_read_only_and_files_untouched(project: Project, clean_env: dict[str, str]) -> None:
    project.script("a.py", ["alpha"])
    project.call("build", "a.py")
    (environment,) = project.environments
    writable = [folder for folder, _, _ in os.walk(environment) if os.stat(folder).st_mode & 0o222]
    assert not writable
    (module,) = environment.rglob("alpha.py")
    # the file is uv's cache's own inode: whoever changes its mode changes the cache
    assert module.stat().st_mode & 0o200
    cached = [path.stat() for path in Path(clean_env["UV_CACHE_DIR"]).rglob("alpha.py")]
    assert any(os.path.samestat(module.stat(), found) for found in cached)


def test_check_builds_nothing_and_says_what_is_missing(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.script("b.py", ["beta"])
    project.call("build", "a.py")
    done = project.call("build", "--check", "a.py", "b.py", status=1)
    assert "for b.py: not built" in done.stderr
    assert "1 of 2 environments ready" in done.stderr
    assert len(project.environments) == 1
    document = json.loads(project.call("build", "--check", "--json", "a.py", "b.py", status=1).stdout)
    assert document["schema"] == 1
    assert len(document["missing"]) == 1
    project.call("build", "--check", "a.py")


def test_unsatisfiable_requirements_are_told_in_uvs_words(project: Project) -> None:
    project.script("good/script.py", ["alpha"])
    project.script("bad/script.py", ["alpha==9.9"])
    done = project.call("build", "bad/script.py", "good/script.py", status=3)
    assert "error: can't build environment" in done.stderr
    assert "bad/script.py" in done.stderr
    assert "alpha==9.9" in done.stderr
    assert "no version of alpha" in done.stderr
    assert "Traceback" not in done.stderr
    (environment,) = project.environments  # the bad key did not stop the good one
    assert list(environment.rglob("alpha.py"))
    assert not list((project.pool / "tmp").iterdir())
    (log,) = [path for path in (project.pool / "logs").iterdir() if "no version of alpha" in path.read_text()]
    assert log.name in done.stderr


def test_a_python_that_is_not_here(project: Project) -> None:
    project.script("a.py", ["alpha"], requires_python=">=3.99")
    done = project.call("build", "a.py", status=3)
    assert "no Python here meets requires-python >=3.99" in done.stderr
    # as the project's environment is, uv would refuse the command alone
    assert done.stderr.endswith("hint: UV_OFFLINE=0 UV_PYTHON_DOWNLOADS=manual uv python install 3.99\n")
    assert not project.environments
    project.script("b.py", ["alpha"])
    done = project.call("build", "--python", "3.99", "b.py", status=3)
    assert "no Python here is 3.99" in done.stderr


def test_a_request_that_requires_python_excludes(project: Project) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    project.script("a.py", ["alpha"], requires_python=f"<{version}")
    done = project.call("build", "--python", sys.base_prefix + "/bin/python3", "a.py", status=3)
    assert f"requires-python <{version} does not admit it" in done.stderr
    assert not project.environments


def test_the_requires_python_of_the_original_report(project: Project) -> None:
    project.script("a.py", ["alpha"], requires_python=">=3.10,<=3.10")
    done = project.call("build", "a.py", status=None)
    if done.returncode == 0:
        pytest.skip("this machine has a Python 3.10, which is what it is read as")
    assert "no Python here meets requires-python >=3.10,<=3.10\n" in done.stderr
    assert ">=3.10,<=3.10 admits 3.10.0 alone, since <=3.10 means <=3.10.0; write >=3.10,<3.11 instead\n" in done.stderr


def test_eight_processes_race_for_a_cold_key(project: Project, tmp_path: Path) -> None:
    project.copies(8, ["beta", "gamma"])
    processes = []
    for number in range(8):
        (tmp_path / f"tmp{number}").mkdir()
        processes.append(
            project.start("build", f"case{number + 1}/script.py", env={"TMPDIR": str(tmp_path / f"tmp{number}")})
        )
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert len(project.environments) == 1
    assert project.environments[0].name.endswith("-1"), "a second build was made and thrown away"
    assert sum("built 1 environment" in stderr for _, stderr in outputs) == 1
    assert not list((project.pool / "tmp").iterdir())
    assert not list((project.pool / "locks").iterdir())


def test_those_who_waited_get_the_failure_at_once(project: Project) -> None:
    project.copies(4, ["alpha==9.9"])
    processes = [project.start("build", f"case{number}/script.py") for number in range(1, 5)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [3] * 4, outputs
    assert all("no version of alpha" in stderr for _, stderr in outputs)
    # the next call tries again, and finds what has been mended
    project.copies(4, ["alpha"])
    project.call("build", "case1/script.py")


@pytest.mark.parametrize("stage", ["locks", "tmp", "venv"])
def test_killed_in_a_build_then_the_same_again(project: Project, stage: str) -> None:
    project.copies(3, ["beta", "tool"])
    process = project.start("build", "case*/script.py", start_new_session=True)
    wait_for(
        lambda: process.poll() is not None
        or (
            any((project.pool / "tmp").glob("*/venv/bin"))
            if stage == "venv"
            else (project.pool / stage).is_dir() and any((project.pool / stage).iterdir())
        )
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (project.pool / "keys").is_dir() or not list((project.pool / "keys").iterdir())
    project.call("build", "case*/script.py")
    assert len(project.environments) == 1
    assert project.call("exec", "case1/script.py").returncode == 0


def test_an_environment_left_unlinked_is_taken_over(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.call("build", "a.py")
    (link,) = (project.pool / "keys").iterdir()
    link.unlink()  # as after a kill between the two last steps
    project.call("build", "a.py", env={"SHAREDENV_UV": "/nonexistent"})
    assert len(project.environments) == 1
    assert link.is_symlink()


def ended_with_uv(project: Project, folder: Path, command: list[str], number: signal.Signals, env: dict[str, str]) -> None:
    """Sends a signal to a build as soon as its uv runs: both end, and nothing is left."""
    uv, note = folder / "uv", folder / "uv.pid"
    uv.write_text('#!/bin/sh\ncase "$*" in *--version*) echo "uv 99.0.0";; *) echo $$ > "$0.pid"; exec sleep 100;; esac\n')
    uv.chmod(0o755)
    process = project.start(*command, env={"SHAREDENV_UV": str(uv), **env})
    wait_for(lambda: note.exists() and note.read_text().strip() != "")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    wait_for(lambda: not is_alive(int(note.read_text())), 5)
    assert not list((project.pool / "tmp").iterdir())


#: makes a process slow to hear that another, whose start it waits for, has started
SLOW = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
ssize_t read(int file, void *buffer, size_t size) {
    ssize_t length = ((ssize_t (*)(int, void *, size_t)) dlsym(RTLD_NEXT, "read"))(file, buffer, size);
    struct timespec left = {0, 200000000};
    struct stat found;
    if (length == 0 && fstat(file, &found) == 0 && S_ISFIFO(found.st_mode)) while (nanosleep(&left, &left));
    return length;
}
"""


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (["build", "a.py"], signal.SIGTERM),
        (["build", "a.py"], signal.SIGHUP),
        (["verify", "--repair"], signal.SIGTERM),
        (["verify", "--repair"], signal.SIGHUP),
    ],
    ids=["build TERM", "build HUP", "repair TERM", "repair HUP"],
)
def test_who_is_ended_takes_uv_along(project: Project, tmp_path: Path, command: list[str], number: signal.Signals) -> None:
    project.script("a.py", ["alpha"])
    if command[0] == "verify":
        project.call("build", "a.py")
        with opened(project.environments[0]):
            next(project.environments[0].rglob("alpha.py")).unlink()
    ended_with_uv(project, tmp_path, command, number, {})


def test_a_signal_that_comes_while_uv_starts_takes_it_along(project: Project, tmp_path: Path) -> None:
    """Raised where it was started, before its number was noted: nobody knew of it any more."""
    project.script("a.py", ["alpha"])
    project.call("build", "a.py")
    with opened(project.environments[0]):
        next(project.environments[0].rglob("alpha.py")).unlink()
    ended_with_uv(project, tmp_path, ["verify", "--repair"], signal.SIGTERM, preloaded(tmp_path, SLOW))


#: has a command run when the journal of a run is there, which is after the look into the pool
PRUNED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
int rename(const char *from, const char *to) {
    if (strstr(from, "/runs/.new-") && system(getenv("PRUNE"))) abort();
    return ((int (*)(const char *, const char *)) dlsym(RTLD_NEXT, "rename"))(from, to);
}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_while_it_builds_again_what_was_just_pruned_takes_uv_along(
    project: Project, tmp_path: Path, number: signal.Signals
) -> None:
    project.script("a.py", ["alpha"])
    project.call("build", "a.py")
    prune = f"chmod -R u+w '{project.pool}/envs'; rm -rf '{project.pool}/envs'/* '{project.pool}/keys'/*"
    ended_with_uv(project, tmp_path, ["run", "a.py"], number, {**preloaded(tmp_path, SLOW + PRUNED), "PRUNE": prune})
    assert "1 not run" in project.call("status").stdout


#: makes every sleep of a process a long one, so that what lies between two lines takes its time
SLEEPY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <time.h>
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    struct timespec more = {0, 500000000};
    if (nanosleep(&more, NULL)) return errno;
    return ((int (*)(clockid_t, int, const struct timespec *, struct timespec *)) dlsym(RTLD_NEXT, "clock_nanosleep"))(clock, flags, until, left);
}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it sleeps for Linux's scheduler alone")
def test_a_term_between_the_start_of_builds_and_of_the_batch_takes_uv_along(project: Project, tmp_path: Path) -> None:
    """In the sleeps of run/scheduling.calm, which nobody's handler stood around: uv outlived the run, which was told as lost."""
    project.copies(100, ["alpha"])
    ended_with_uv(project, tmp_path, ["run", "case*/script.py"], signal.SIGTERM, preloaded(tmp_path, SLEEPY))
    assert "interrupted, ended by the user" in project.call("status").stdout


def test_a_build_under_nohup_is_not_ended_by_hup(project: Project) -> None:
    project.script("a.py", ["alpha"])
    process = project.start("build", "a.py", prefix=["nohup"])
    wait_for(lambda: process.poll() is not None or any((project.pool / "tmp").glob("*")))
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0 and "built environment" in stderr


#: makes a process slow on its way into a wait for a lock: a signal that comes meanwhile does not end the wait
LATE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <time.h>
static void late(sem_t *lock) {
    int free;
    struct timespec left = {2, 0};
    sem_getvalue(lock, &free);
    if (!free) while (nanosleep(&left, &left));
}
int sem_wait(sem_t *lock) {
    late(lock);
    return ((int (*)(sem_t *)) dlsym(RTLD_NEXT, "sem_wait"))(lock);
}
int sem_timedwait(sem_t *lock, const struct timespec *until) {
    late(lock);
    return ((int (*)(sem_t *, const struct timespec *)) dlsym(RTLD_NEXT, "sem_timedwait"))(lock, until);
}
int sem_clockwait(sem_t *lock, clockid_t clock, const struct timespec *until) {
    late(lock);
    return ((int (*)(sem_t *, clockid_t, const struct timespec *)) dlsym(RTLD_NEXT, "sem_clockwait"))(lock, clock, until);
}
"""
WAITS = """
import concurrent.futures
import sharedenv.app.build as building
import signal
signal.signal(signal.SIGTERM, building.end_by_signal)
print("ready", flush=True)
building.result_of(concurrent.futures.Future())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="locks are other calls elsewhere")
def test_a_term_that_comes_just_before_a_wait_for_a_builder_is_heard(tmp_path: Path) -> None:
    """Of a build that never ends: the handler was called when the wait was over, so never."""
    argv = [sys.executable, "-c", WAITS]
    process = subprocess.Popen(argv, env={**os.environ, **preloaded(tmp_path, LATE)}, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)  # it is on its way
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_ends_the_build_and_leaves_nothing(project: Project) -> None:
    project.script("a.py", ["alpha"])
    process = project.start("build", "a.py", start_new_session=True)
    wait_for(lambda: process.poll() is not None or any((project.pool / "tmp").glob("*")))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode in {130, 0}, stderr
    assert "Traceback" not in stderr
    project.call("build", "a.py")
    assert len(project.environments) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_pool_whose_format_is_damaged_is_told_as_that(project: Project, text: str) -> None:
    project.script("a.py")
    project.call("build", "a.py")
    marker = project.pool / "pool.json"
    marker.write_text(text)
    told = project.call("list", status=2).stderr
    assert "pool.json is damaged" in told and f"hint: rm {marker}\n" in told
    marker.unlink()
    assert "1 environment for 1 script ready" in project.call("build", "a.py", env={"SHAREDENV_UV": "/nonexistent"}).stderr
    assert len(project.environments) == 1


def test_a_pool_of_another_format_is_refused(project: Project) -> None:
    project.script("a.py", ["alpha"])
    project.call("build", "a.py")
    (project.pool / "pool.json").write_text('{"format": 99}')
    done = project.call("build", "a.py", status=2)
    assert "format 99" in done.stderr


def test_no_pool_is_made_above_the_scripts_unasked(project: Project, tmp_path: Path) -> None:
    project.script("a.py", ["alpha"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = project.call("build", str(project.path / "a.py"), cwd=elsewhere, status=2)
    assert "--pool" in done.stderr
    project.call("--pool", str(elsewhere / "pool"), "build", str(project.path / "a.py"), cwd=elsewhere)
    assert list((elsewhere / "pool" / "envs").iterdir())


@pytest.mark.registry
def test_a_real_package_from_the_registry(project: Project, clean_env: dict[str, str]) -> None:
    project.env = dict(clean_env)
    project.script("a.py", ["six==1.16.0"], "import six; print(six.__version__)")
    assert project.call("exec", "a.py").stdout == "1.16.0\n"
