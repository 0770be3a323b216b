"""The job script of an array on Grid Engine: a pure function of what is asked. Nothing here touches a disk, a clock or Grid Engine."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator

from sharedenv.cluster.sbatch import Job, grace_of, guarded, quote, seconds
from sharedenv.errors import EXIT_USAGE, SharedenvError

#: what a submission decides itself: an option given by the user in its place would lose cases, or their output
_OURS = ("-t", "-N", "-S", "-b", "-o", "-e", "-j", "-i", "-wd", "-cwd", "-sync", "-terse", "-notify", "-r", "-now", "-verify", "-@")
#: what submit has an option of its own for → that option
_HAVE = {"-tc": "--max-running", "-P": "--account", "-q": "--partition"}


def job_name(script: str) -> str:
    """The name of the job of a script at runs/<run-id>/jobs/<n>/job.sh: Grid Engine tells no paths."""
    run, _, number, _ = script.split("/")[-4:]
    return f"sharedenv-{run}-{number}"


def script_text(job: Job) -> str:
    """The job script, with all that qsub is told. Names that are no UTF-8 stand in it as os.fsdecode gives them. Raises SharedenvError
    for what Grid Engine has no option for.
    """
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#$ {directive}" for directive in _directives(job)),
            "",
            # qsub -o reads : , and $ in a path as its own
            f'exec >>{quote(job.folder)}/"$JOB_ID.$SGE_TASK_ID.out" 2>&1',
            f"cd -- {quote(job.start)} || exit",
            *guarded(job.options.setup),
            "unset PYTHONEXECUTABLE SHAREDENV_WAIT",  # our Python heeds the one whatever it is told; and no task waits for others
            f"exec {' '.join(map(quote, job.command))}",
            "",
        ]
    )


def arguments(_job: Job) -> tuple[str, ...]:
    """Nothing: the job script says it all, and what it says comes before the site's defaults and the user's (sge_request)."""
    return ()


def log_path(job: Job, identity: str) -> str:
    """Path of what the tasks print, with ``*`` for their number."""
    return os.path.join(job.folder, f"{identity}.*.out")


def asks_for_slots(more: Iterable[str]) -> bool:
    """Whether options of qsub name a parallel environment."""
    return any(_words(text)[0] == "-pe" for text in more)


def without_hold(more: Iterable[str]) -> tuple[str, ...]:
    """Options of qsub without those that held the job of an earlier submission."""
    return tuple(text for text in more if _words(text)[0] not in ("-h", "-hold_jid", "-hold_jid_ad"))


def _directives(job: Job) -> Iterator[str]:
    options = job.options
    if options.memory is not None:
        raise _refused(
            "--mem", "one site counts memory by h_vmem, another by mem_free or vf, and most of them for each CPU", "--qsub '-l h_vmem=4G'"
        )
    yield f"-N {job.name}"
    yield "-S /bin/bash -j y -o /dev/null -wd /"
    yield "-V"  # the scripts get the variables that are set where they are submitted, as on Slurm
    yield "-r y"  # what a dead node had goes on elsewhere
    yield "-notify"  # qdel: USR2 comes before KILL
    if job.tasks is not None:
        yield f"-t 1-{job.tasks}" + ("" if job.max_running is None else f" -tc {job.max_running}")
    if job.after is not None:
        yield f"-hold_jid {job.after}"
    if options.time is not None and (limit := seconds(options.time)):
        # the soft limit sends USR1: start nothing more
        yield f"-l h_rt={limit},s_rt={max(1, limit - grace_of(options))}"
    if options.partition is not None:
        yield f"-q {_word(options.partition)}"
    if options.account is not None:
        yield f"-P {_word(options.account)}"
    for text in options.more:
        yield " ".join(map(_word, _allowed(text)))


def _allowed(text: str) -> list[str]:
    words = _words(text)
    if words[0] in _OURS:
        raise _refused(f"--qsub {shlex.quote(text)}", "the array, its output and how it is followed are decided by submit itself")
    if words[0] in _HAVE:
        raise _refused(f"--qsub {shlex.quote(text)}", f"submit has an option for it: {_HAVE[words[0]]}")
    return words


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that has no end
        words = []
    if not words or not re.fullmatch(r"-[A-Za-z@]\w*", words[0], re.ASCII):
        raise _refused(f"--qsub {shlex.quote(text)}", "it is no option of qsub")
    return words


def _word(text: str) -> str:
    """One word of a directive, which qsub reads with a tokenizer of its own that knows no escapes."""
    if re.fullmatch(r"[\w@%+=:,./*!&|-]+", text, re.ASCII):
        return text
    if '"' in text or "\n" in text:
        raise _refused(shlex.quote(text), "qsub can't read a double quote or a line break in a job script")
    return f'"{text}"'


def _refused(what: str, cause: str, instead: str = "--help") -> SharedenvError:
    return SharedenvError(f"can't pass {what} on to Grid Engine", cause=cause, hint=f"sharedenv submit {instead}", exit_code=EXIT_USAGE)
