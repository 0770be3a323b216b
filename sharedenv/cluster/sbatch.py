"""The job script of an array: a pure function of what is asked. Nothing here touches a disk, a clock or Slurm."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.values import frozen

#: the job's output, below the folder it runs from; %A alone is also the id of an array's last task, hence both
LOG_PATTERN = "%A_%a.out"
BUILD_LOG_PATTERN = "build-%j.out"

#: what a submission decides itself: an option given by the user in its place would lose or repeat cases
_OURS = ("array", "wrap", "parsable", "wait", "test-only", "clusters")
#: others that matter here, and what submit has an option of its own for
_KNOWN = ("dependency", "hold", "output", "error", "input", "account", "cpus-per-task", "mem", "partition", "time")
#: short options of sbatch that matter here → their names, and those that have no value
_SHORT = {
    "A": "account", "a": "array", "c": "cpus-per-task", "d": "dependency", "e": "error", "H": "hold", "i": "input", "M": "clusters",
    "o": "output", "p": "partition", "t": "time", "W": "wait",
}
_FLAGS = "bhHIkOQsuvVW"
_FILES = ("output", "error", "input")


@frozen
class SbatchOptions:
    """What the user asks of Slurm; None leaves a choice to SBATCH_* variables and the cluster's defaults.

    time, memory    as sbatch takes them (`--time`, `--mem`)
    more            further options of sbatch, each with its value: `--gres=gpu:1`, `gres=gpu:1`, `-p debug`
    setup           lines of bash for the top of the job script
    grace           seconds before the time limit at which a task stops starting cases; None: a tenth of the time
                    limit, a minute at most
    """

    time: str | None = None
    partition: str | None = None
    account: str | None = None
    memory: str | None = None
    cpus_per_task: int | None = None
    more: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    grace: int | None = None


@frozen
class Job:
    """One job to submit.

    name         as squeue shows it
    folder       absolute: where its output goes
    start        absolute: the folder it was submitted from, where its setup lines are run
    command      argv that the job becomes
    options      what the user asked
    tasks        tasks of the array, numbered from 1; None for a job that is no array
    max_running  tasks that may run at once, None for no limit of ours
    after        the id of the job that must have succeeded first
    depends      what else it waits for, as sbatch's --dependency takes it
    """

    name: str
    folder: str
    start: str
    command: tuple[str, ...]
    options: SbatchOptions
    tasks: int | None = None
    max_running: int | None = None
    after: str | None = None
    depends: tuple[str, ...] = ()


def defaults(job: Job) -> tuple[str, ...]:
    """sbatch options that SBATCH_* variables may override: they stand in the job script only."""
    return (
        f"--job-name={job.name}",
        "--requeue",  # a task goes on where it stopped
        "--open-mode=append",  # … and its output too
        f"--signal=B:TERM@{grace_of(job.options)}",  # the job becomes our process, which stops starting cases
        "--kill-on-invalid-dep=yes",  # without it, a job whose dependency failed waits for ever
    )


def arguments(job: Job) -> tuple[str, ...]:
    """sbatch options that were asked for or that decide what is run: for the job script and for sbatch's command line.

    Both, since SBATCH_* variables beat a script's directives, but not the command line. Each is one word. Raises
    SharedenvError for an option that a submission decides itself.
    """
    options = job.options
    more = _asked(options)
    if job.tasks is not None and job.tasks > 1:
        for option in {option.name: option for option in more}.values():  # of several that say one thing, sbatch takes the last
            _refuse_one_file(option, job.tasks)
    if job.tasks is None:  # the output of the job that builds is looked for in its folder
        more = [option for option in more if option.name not in _FILES]
    chosen = [
        f"--chdir={job.folder}",
        f"--output={'/dev/null' if _redirects(job) else _log(job)}",
    ]
    if job.tasks is not None:
        throttle = "" if job.max_running is None else f"%{job.max_running}"
        chosen.append(f"--array=1-{job.tasks}{throttle}")
        if options.cpus_per_task is not None:
            chosen.append(f"--cpus-per-task={options.cpus_per_task}")
    if ours := ((f"afterok:{job.after}",) if job.after is not None else ()) + job.depends:
        # of two such options sbatch takes the last alone
        awaited = [*ours, *(option.value for option in more if option.name == "dependency")]
        more = [option for option in more if option.name != "dependency"]
        chosen.append(f"--dependency={','.join(awaited)}")
    for name, value in (
        ("time", options.time),
        ("partition", options.partition),
        ("account", options.account),
        ("mem", options.memory),
    ):
        if value is not None:
            chosen.append(f"--{name}={value}")
    return (*chosen, *(_from_start(option, job.start) for option in more))


def script_text(job: Job) -> str:
    """The job script. Names that are no UTF-8 stand in it as os.fsdecode gives them: write it with os.fsencode."""
    directives = [_directive(argument) for argument in (*defaults(job), *arguments(job))]
    return "\n".join(
        [
            "#!/bin/bash",
            *directives,
            "",
            *([_redirection(job)] if _redirects(job) else []),
            f"cd -- {quote(job.start)} || exit",
            *guarded(job.options.setup),
            "unset PYTHONEXECUTABLE",  # our Python heeds it whatever it is told
            f"exec {' '.join(map(quote, job.command))}",
            "",
        ]
    )


def guarded(setup: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of --setup, of which the first that fails ends the job: scripts are not to run without what it would have given them."""
    # what fails within a file that a line sources is that file's own affair
    end = '{ echo "error: --setup failed with status $sharedenv_status: $(sed -n "${LINENO}p" "$0")" >&2; exit "$sharedenv_status"; }'
    trap = f"trap 'sharedenv_status=$?; [ ${{#BASH_SOURCE[@]}} -gt 1 ] || {end}' ERR"
    return (trap, *setup, "trap - ERR") if setup else ()


def without(more: Iterable[str], names: Collection[str]) -> tuple[str, ...]:
    """Options of sbatch as `Options.more` has them, without those of these (long) names. Raises SharedenvError for what is none."""
    # sbatch takes them for three ways to say one thing
    left_out = {*names, "mem-per-cpu", "mem-per-gpu"} if "mem" in names else set(names)
    return tuple(option.text for text in more for option in _parsed(text) if option.name not in left_out)


def names_any(more: Iterable[str], names: Collection[str]) -> bool:
    """Whether one of these options is among those of `Options.more`; of a name that sbatch takes by its beginning, the whole is meant."""
    asked = [option.name for text in more for option in _parsed(text)]
    return any(name.startswith(one) and (len(one) > 1 or name == one) for one in asked for name in names)


def quote(text: str) -> str:
    """One word of a POSIX shell. As shlex.quote, but without a CR LF pair, for which sbatch refuses a script."""
    return shlex.quote(text).replace("\r\n", "\r''\n")


def log_path(job: Job, identity: str) -> str:
    """Path of what the tasks of a job print, with ``*`` for what Slurm fills in for each; ``identity``: that of the array."""
    folder, pattern = (job.folder, _log(job)) if (asked := _output(job)) is None else (job.start, asked.value)
    name = re.sub(r"%\d*([A-Za-z%])", lambda match: {"A": identity, "%": "%"}.get(match[1], "*"), pattern)
    return os.path.join(folder, name)


def _output(job: Job) -> _Option | None:
    """--output as the user gave it for an array; of several sbatch takes the last."""
    asked = [option for option in _asked(job.options) if option.name == "output"] if job.tasks is not None else []
    return asked[-1] if asked else None


def _refuse_one_file(option: _Option, tasks: int) -> None:
    """Raises SharedenvError for a file that all tasks would write into at once: on network file systems what two nodes append is torn."""
    own = re.search(r"%\d*[ajJ]", option.value.replace("%%", ""))
    if option.name in ("output", "error") and not own and option.value != "/dev/null":
        name, ending = os.path.splitext(option.value)
        hint = f"sharedenv submit … --sbatch {shlex.quote(f'--{option.name}={name}-%a{ending}')}"
        raise _refused(option.text, f"all {tasks} tasks would write into one file", hint)


def _from_start(option: _Option, start: str) -> str:
    """An option as sbatch takes it. A file is meant from the folder of the submission, and sbatch takes it from --chdir."""
    if option.name not in _FILES or not option.value or option.value.startswith("/"):
        return option.text
    if "%" in start or "\\" in start:
        raise _refused(option.text, f"there is % or \\ in its folder, which Slurm would expand: {start}", "sharedenv submit --help")
    return f"--{option.name}={os.path.join(start, option.value)}"


def _log(job: Job) -> str:
    return BUILD_LOG_PATTERN if job.tasks is None else LOG_PATTERN


def _redirects(job: Job) -> bool:
    # Slurm expands % and \ in the whole path of the output, the folder's included, and has no way to quote them
    return _output(job) is None and ("%" in job.folder or "\\" in job.folder)


def _redirection(job: Job) -> str:
    variables = {"%A": "SLURM_ARRAY_JOB_ID", "%a": "SLURM_ARRAY_TASK_ID", "%j": "SLURM_JOB_ID"}
    name = re.sub("%[Aaj]", lambda match: f"${{{variables[match[0]]}}}", _log(job))
    return f'exec >>{quote(job.folder)}/"{name}" 2>&1'


def seconds(time: str) -> int | None:
    """Seconds of a time limit as Slurm writes it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; None for one that has no end."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if match is None:
        return None
    days, *fields = match.groups()
    first, second, third = (int(field or 0) for field in fields)
    if days is not None:
        return ((int(days) * 24 + first) * 60 + second) * 60 + third
    if fields[2] is not None:
        return (first * 60 + second) * 60 + third
    return first * 60 + second


def grace_of(options: SbatchOptions) -> int:
    """Seconds before the time limit at which a task starts nothing more."""
    if options.grace is not None:
        return options.grace
    times = [options.time, *(option.value for option in _asked(options) if option.name == "time")]
    limit = None if times[-1] is None else seconds(times[-1])
    return 60 if limit is None else min(60, max(1, limit // 10))


def _directive(argument: str) -> str:
    # sbatch reads directives with a tokenizer of its own: a backslash escapes even between single quotes, nothing is
    # expanded, and there is no way to hold a line break
    if "\n" in argument:
        name = argument.partition("=")[0]
        return f"# {name} holds a line break: it is on sbatch's command line only"
    name, equals, value = argument.partition("=")
    return f"#SBATCH {name}{equals}{_directive_quote(value)}" if equals else f"#SBATCH {_directive_quote(argument)}"


def _directive_quote(text: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@frozen
class _Option:
    """One option of sbatch: its long name where that matters here, its value ("" for none), and as sbatch takes it."""

    name: str
    value: str
    text: str


def _asked(options: SbatchOptions) -> list[_Option]:
    return [option for text in options.more for option in _parsed(text)]


def _parsed(text: str) -> list[_Option]:
    """The options that the user gave as one text: several only for flags such as `-HQ`. Raises SharedenvError."""
    option = (text if text.startswith("-") else f"--{text}").strip()
    if match := re.fullmatch(r"--([A-Za-z][A-Za-z0-9-]*)(?:[=\s]\s*(.*))?", option, re.DOTALL):
        name, value = match.groups()
        # sbatch takes the beginning of a name for the name
        found = next((each for each in (*_OURS, *_KNOWN) if each.startswith(name)), name)
        return [_allowed(_Option(found, value or "", f"--{name}" if value is None else f"--{name}={value}"), text)]
    if match := re.fullmatch(r"-([A-Za-z])[=\s]*(.*)", option, re.DOTALL):
        letter, rest = match.groups()
        name = _SHORT.get(letter, letter)
        if letter not in _FLAGS:
            return [_allowed(_Option(name, rest, f"-{letter}{rest}"), text)]
        first = _allowed(_Option(name, "", f"-{letter}"), text)
        return [first, *(_parsed(f"-{rest}") if rest else [])]
    raise _refused(text, "it is no option of sbatch", "sharedenv submit --help")


def _allowed(option: _Option, text: str) -> _Option:
    if option.name == "clusters":
        raise _refused(text, "where the job stands is asked of one cluster only", "export SLURM_CLUSTERS=NAME")
    if option.name in _OURS:
        raise _refused(text, "the array, its size and how it is followed are decided by submit itself", "sharedenv submit --help")
    return option


def _refused(text: str, cause: str, hint: str) -> SharedenvError:
    return SharedenvError(f"can't pass --sbatch {text} on", cause=cause, hint=hint, exit_code=EXIT_USAGE)
