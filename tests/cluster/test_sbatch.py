"""The text of a job script: right for a shell, and right for a real sbatch, whatever the names."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedenv.cluster.sbatch import Job, SbatchOptions, arguments, log_path, quote, script_text, seconds
from sharedenv.errors import EXIT_USAGE, SharedenvError
from tests.slurm import Cluster

NASTY = [
    "plain",
    "two words",
    "it's",
    'double "quotes"',
    "back`tick` $(false) ${HOME} $HOME",
    "new\nline",
    "dos\r\nline",
    "-leading --dash",
    "#SBATCH --array=1-9",
    "line\n#SBATCH --exclusive",
    "back\\slash\\\\twice\\",
    "%A_%a %j %% percent",
    "tab\tstar*?[a]{b,c}~!&|;<>",
    "umlaut äöü 漢字",
    os.fsdecode(b"no utf-8 \xff\xfe"),
    "",
]

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40)


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "name": "sharedenv-1",
        "folder": "/runs/1",
        "start": "/home/me",
        "command": ("/usr/bin/python3", "-m", "sharedenv"),
        "options": SbatchOptions(),
        "tasks": 3,
    }
    return Job(**{**values, **changes})


def test_the_whole_script() -> None:
    options = SbatchOptions(
        time="01:00:00", partition="debug", account="me", memory="2G", cpus_per_task=4, more=("gres=gpu:1",),
        setup=("module load gcc",),
    )
    assert script_text(job(options=options, max_running=2, after="17")) == (
        "#!/bin/bash\n"
        "#SBATCH --job-name=sharedenv-1\n"
        "#SBATCH --requeue\n"
        "#SBATCH --open-mode=append\n"
        "#SBATCH --signal=B:TERM@60\n"
        "#SBATCH --kill-on-invalid-dep=yes\n"
        "#SBATCH --chdir=/runs/1\n"
        "#SBATCH --output=%A_%a.out\n"
        "#SBATCH --array=1-3%2\n"
        "#SBATCH --cpus-per-task=4\n"
        "#SBATCH --dependency=afterok:17\n"
        "#SBATCH --time=01:00:00\n"
        "#SBATCH --partition=debug\n"
        "#SBATCH --account=me\n"
        "#SBATCH --mem=2G\n"
        "#SBATCH --gres=gpu:1\n"
        "\n"
        "cd -- /home/me || exit\n"
        "trap 'sharedenv_status=$?; [ ${#BASH_SOURCE[@]} -gt 1 ] ||"
        ' { echo "error: --setup failed with status $sharedenv_status: $(sed -n "${LINENO}p" "$0")" >&2; exit "$sharedenv_status"; }\' ERR\n'
        "module load gcc\n"
        "trap - ERR\n"
        "unset PYTHONEXECUTABLE\n"
        "exec /usr/bin/python3 -m sharedenv\n"
    )


@pytest.mark.parametrize(
    ("setup", "ends"),
    [
        (["no-such-module load gcc"], "127: no-such-module load gcc"),
        (["true", "function module { return 3; }", "module load gcc"], "3: module load gcc"),
        (["cd nowhere", "true"], "1: cd nowhere"),
        ([". ./file"], "1: . ./file"),  # which ends with a line that fails
        (["false\ntrue"], "1: false"),
        (["for name in a b; do", "false", "done"], "1: false"),
        ([". ./file || true"], ""),
        (["[ -e nowhere ] && . nowhere", "if false; then", "true", "fi", "! true"], ""),
        (["false | true", "function module { false; true; }", "module load gcc"], ""),
        (["echo false > ./other; echo true >> ./other", ". ./other"], ""),
    ],
)
def test_the_first_line_of_setup_that_fails_ends_the_job(setup: list[str], ends: str, tmp_path: Path) -> None:
    """Lines that only ask something, and what fails within a file that is sourced, do not."""
    (tmp_path / "file").write_text("false\n")
    text = script_text(job(start=str(tmp_path), command=("echo", "at work"), options=SbatchOptions(setup=tuple(setup))))
    (tmp_path / "job.sh").write_text(text)
    done = subprocess.run(["bash", tmp_path / "job.sh"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ("" if ends else "at work\n")
    assert done.stderr.endswith(f"error: --setup failed with status {ends}\n" if ends else "")
    assert done.returncode == (int(ends.partition(":")[0]) if ends else 0)


@given(st.lists(TEXT.filter(lambda text: "\n" not in text and "\r" not in text), min_size=1, max_size=4))
def test_directives_read_back_as_the_arguments(values: list[str]) -> None:
    """What stands after #SBATCH gives, by a shell's rules, the words of the command line."""
    asked = job(options=SbatchOptions(more=tuple(f"--comment={value}" for value in values)))
    lines = [line for line in script_text(asked).split("\n") if line.startswith("#SBATCH ")]
    words = [word for line in lines for word in shlex.split(line.removeprefix("#SBATCH "))]
    assert words[-len(arguments(asked)) :] == list(arguments(asked))


@given(TEXT)
def test_quoted_text_is_one_word_without_dos_line_ends(text: str) -> None:
    quoted = quote(text)
    assert shlex.split(quoted) == [text]
    assert "\r\n" not in quoted


def test_a_line_break_never_becomes_a_directive() -> None:
    text = script_text(job(folder="/a\n#SBATCH --exclusive", options=SbatchOptions(more=("--comment=x\n#SBATCH --hold",))))
    assert not [line for line in text.split("\n") if line.startswith(("#SBATCH --exclusive", "#SBATCH --hold"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--gres=gpu:1", ["--gres=gpu:1"]),
        ("gres=gpu:1", ["--gres=gpu:1"]),
        ("--exclusive", ["--exclusive"]),
        ("-p debug", ["-pdebug"]),
        ("-pdebug", ["-pdebug"]),
        ("-HQ", ["-H", "-Q"]),
        ("-Hp debug", ["-H", "-pdebug"]),
        ("--mail-type END", ["--mail-type=END"]),
        ("--comment=a=b c", ["--comment=a=b c"]),
    ],
)
def test_any_option_of_sbatch(text: str, expected: list[str]) -> None:
    assert list(arguments(job(options=SbatchOptions(more=(text,))))[-len(expected) :]) == expected


@pytest.mark.parametrize("text", ["--output=all.log", "-o all.log", "-e /tmp/all-%A.log", "--error=%%a.log", "output=%x-%N"])
def test_one_file_for_all_tasks_is_refused(text: str) -> None:
    with pytest.raises(SharedenvError) as caught:
        arguments(job(options=SbatchOptions(more=(text,))))
    assert caught.value.cause == "all 3 tasks would write into one file"
    [again] = shlex.split(caught.value.hint or "")[4:]
    assert "-%a" in again
    arguments(job(options=SbatchOptions(more=(again,))))
    arguments(job(options=SbatchOptions(more=(text,)), tasks=1))


@pytest.mark.parametrize("text", ["--output=%a.log", "-o %A_%4a.log", "-e %j", "--output=/dev/null", "-i all.txt"])
def test_a_file_for_each_task_is_taken(text: str) -> None:
    arguments(job(options=SbatchOptions(more=(text,))))


@pytest.mark.parametrize("text", [
        "--array=1-9", "-a 1-9", "-a1-9", "-Ha1-9", "array=3", "--arr=3", "--wrap=true", "--wait", "-W", "-HW",
        "--clusters=a,b", "-M all", "= 3", "--", "-",
    ])
def test_options_that_would_lose_cases_are_refused(text: str) -> None:
    with pytest.raises(SharedenvError) as caught:
        arguments(job(options=SbatchOptions(more=(text,))))
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 300),
        ("1:30", 90),
        ("2:00:00", 7200),
        ("1-0", 86400),
        ("1-2:30", 95400),
        ("1-2:30:15", 95415),
        ("UNLIMITED", None),
    ],
)
def test_time_limits_as_slurm_writes_them(text: str, expected: int | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (SbatchOptions(), 60),
        (SbatchOptions(time="1"), 6),
        (SbatchOptions(time="1-0"), 60),
        (SbatchOptions(time="1", grace=30), 30),
        (SbatchOptions(more=("--time=1",)), 6),
        (SbatchOptions(time="1-0", more=("-t 2",)), 12),
    ],
)
def test_a_short_job_has_a_short_grace(options: SbatchOptions, expected: int) -> None:
    assert f"#SBATCH --signal=B:TERM@{expected}\n" in script_text(job(options=options))


@pytest.mark.parametrize("text", ["--dependency=singleton", "-d singleton", "-dsingleton", "--depend singleton"])
def test_a_dependency_of_the_user_s_stands_beside_ours(text: str) -> None:
    """sbatch takes the last one alone: an array would not wait for the job that builds."""
    options = SbatchOptions(more=(text, "--hold"))
    asked = arguments(job(options=options, after="17"))
    assert [each for each in asked if "singleton" in each] == ["--dependency=afterok:17,singleton"]
    assert asked[-1] == "--hold"
    assert next(each for each in arguments(job(options=options)) if "singleton" in each).startswith("-")


@pytest.mark.parametrize("text", ["--output=logs/%A_%a.out", "-o logs/%A_%a.out", "--out logs/%A_%a.out"])
def test_a_file_is_meant_from_the_folder_of_the_submission(text: str) -> None:
    asked = job(options=SbatchOptions(more=(text,)))
    assert arguments(asked)[-1] == "--output=/home/me/logs/%A_%a.out"
    assert log_path(asked, "17") == "/home/me/logs/17_*.out"
    assert log_path(job(options=SbatchOptions(more=("-o/logs/%4a-%%",))), "17") == "/logs/*-%"
    # the job that builds has its own, where `status` looks for it
    assert not [word for word in arguments(job(options=SbatchOptions(more=(text,)), tasks=None)) if "logs" in word]
    with pytest.raises(SharedenvError, match="can't pass --sbatch"):
        arguments(job(start="/100%", options=SbatchOptions(more=(text,))))


@pytest.mark.parametrize("name", NASTY)
def test_a_shell_gets_every_word(name: str, tmp_path: Path) -> None:
    start = tmp_path / f"in {name.replace('/', '')}"
    start.mkdir()
    show = "import os, sys, json; print(json.dumps([os.getcwd(), *sys.argv[1:]]))"
    asked = job(start=str(start), command=(sys.executable, "-c", show, name, "last"))
    script = tmp_path / "job.sh"
    script.write_bytes(os.fsencode(script_text(asked)))
    done = subprocess.run(["bash", script], capture_output=True, check=True, stdin=subprocess.DEVNULL)
    assert json.loads(done.stdout) == [str(start), name, "last"]


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
def test_a_real_sbatch_takes_the_nastiest_names(cluster: Cluster, tmp_path: Path) -> None:
    """Folder, start folder and arguments with every nasty name at once; the output is where the folder is."""
    show = "import os, sys, json; print(json.dumps([os.getcwd(), *sys.argv[1:]]))"
    jobs = []
    for number, name in enumerate(NASTY):
        folder = tmp_path / f"{number} {name}"
        folder.mkdir()
        asked = job(folder=str(folder), start=str(folder), command=(sys.executable, "-c", show, *NASTY), tasks=2)
        script = folder / "job.sh"
        script.write_bytes(os.fsencode(script_text(asked)))
        jobs.append((folder, cluster.call("sbatch", "--parsable", *arguments(asked), str(script))))
    for folder, identity in jobs:
        assert set(cluster.wait_for_end(identity).values()) == {"COMPLETED"}
        for task in (1, 2):
            output = folder / f"{identity}_{task}.out"
            assert json.loads(output.read_bytes()) == [str(folder), *NASTY]


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
def test_directives_alone_say_the_same_to_a_real_sbatch(cluster: Cluster, tmp_path: Path) -> None:
    """What --print shows can be handed to sbatch by hand: names without line breaks reach Slurm from the directives."""
    jobs = []
    for number, name in enumerate(name for name in NASTY if name and "\n" not in name):
        folder = tmp_path / f"{number} {name}"
        folder.mkdir()
        asked = job(folder=str(folder), start="/", command=("true",), options=SbatchOptions(more=(f"--comment={name}",)))
        script = tmp_path / f"{number}.sh"
        script.write_bytes(os.fsencode(script_text(asked)))
        jobs.append((name, folder, cluster.call("sbatch", "--parsable", str(script))))
    for name, folder, identity in jobs:
        assert set(cluster.wait_for_end(identity).values()) == {"COMPLETED"}
        assert sorted(path.name for path in folder.iterdir()) == [f"{identity}_{task}.out" for task in (1, 2, 3)]
        assert cluster.call("squeue", "-h", "-t", "all", "-j", f"{identity}_1", "-o", "%k") == name.strip()
