"""The command `sharedenv`: the options before the command, the commands (each loaded when called), and the way out."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING

import click

from sharedenv import __version__
from sharedenv.cli.anywhere import completed
from sharedenv.cli.options import option, wants_document
from sharedenv.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, SharedenvError
from sharedenv.report.console import Console

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_EXEC = 125  #: all of our errors in `exec`, as `env`, `timeout` and container tools say it: others are the script's own

_COMPLETE = "_SHAREDENV_COMPLETE"  # what a shell sets that completes a command line (click's "Shell Completion")

#: command → (where it is, its line in --help): the line stands here so that `--help` loads no command
COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("sharedenv.cli.build:build", "Build every environment that these scripts need, once each."),
    "run": ("sharedenv.cli.run:run", "Build what is missing, then run every script in its environment."),
    "plan": ("sharedenv.cli.plan:plan", "Freeze a list of scripts for any number of workers."),
    "join": ("sharedenv.cli.join:join", "Work on such a list, from any machine that sees the disk."),
    "status": ("sharedenv.cli.status:status", "Where a run stands, or how it ended."),
    "report": ("sharedenv.cli.report:report", "Write an HTML file with pictures of a run."),
    "exec": ("sharedenv.cli.exec:exec_", "Become the script: same process, same folder, its exit status."),
    "which": ("sharedenv.cli.which:which", "Print each script's interpreter."),
    "key": ("sharedenv.cli.key:key", "Print each script's key, or what differs between two."),
    "activate": ("sharedenv.cli.activate:activate", "Shell code that puts a script's environment first on PATH."),
    "submit": ("sharedenv.cli.submit:submit", "Submit a Slurm array job over the scripts, many to a task."),
    "cancel": ("sharedenv.cli.cancel:cancel", "Cancel a run."),
    "stage": ("sharedenv.cli.stage:stage_", "Copy environments to node-local disk, once a node."),
    "lock": ("sharedenv.cli.lock:lock_", "Lock versions: one sharedenv.lock for all copies of a script."),
    "export": ("sharedenv.cli.export:export", "Write the versions of an environment as requirements.txt or pylock.toml."),
    "list": ("sharedenv.cli.list:list_", "List the environments of the pool."),
    "show": ("sharedenv.cli.show:show", "Show one environment: what is in it, who built it, who uses it."),
    "verify": ("sharedenv.cli.verify:verify_", "Hold each file against its recorded hash; --repair builds anew what fails."),
    "prune": ("sharedenv.cli.prune:prune_", "Remove environments that are no longer wanted, and rubbish."),
    "init": ("sharedenv.cli.init:init", "Make a pool for all scripts below a folder."),
    "doctor": ("sharedenv.cli.doctor:doctor", "Find what on this machine would hurt."),
    "help": ("sharedenv.cli.help:help_", "Show a page of the manual."),
}


class Commands(click.Group):
    """A group whose commands are imported when they are called: start-up stays short."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order in which users meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return completed(command, cli)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, and the options before them."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a shell asks

        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that these words begin with. Raises SharedenvError with what was probably meant."""
        if args[0] not in COMMANDS:
            from sharedenv.cli.meant import unknown_command  # noqa: PLC0415 - rarely needed

            raise unknown_command(args[0], COMMANDS, args[1:])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The table of commands, from the lines above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sharedenv")
@option("--pool", metavar="DIR", help="The pool to use. [default: the nearest .sharedenv/ above the scripts]")
@option("-q", "--quiet", is_flag=True, yields=("verbose",), help="Say nothing but errors.")
@option("-v", "--verbose", is_flag=True, yields=("quiet",), help="Say more.")
@option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours in messages.")
@click.pass_context
def cli(context: click.Context, pool: str | None, quiet: bool, verbose: bool, color: str) -> None:
    """One environment for thousands of copies of a script.

    Reads each script's inline metadata (PEP 723), builds every distinct environment once into a pool
    that belongs to the project (.sharedenv/), and runs all the copies in it.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(EXIT_USAGE)
    context.obj = Console(verbosity=-1 if quiet else int(verbose), color=color, pool=pool)
    try:
        os.getcwd()
    except OSError as error:  # removed under a shell, or on a disk that is away
        raise SharedenvError("the current folder can't be used", cause=error.strerror, hint='cd "$HOME"') from None


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status. Nothing escapes but the status: errors have been told."""
    if os.environ.get(_COMPLETE):
        from sharedenv.cli.completion import complete  # noqa: PLC0415 - only a shell asks

        return complete(cli, _COMPLETE)
    _open_standard()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by who started us, it would stay so: the kernel keeps no child's status then
    words = list(sys.argv[1:] if arguments is None else arguments)
    if _command(words) == "activate":
        from sharedenv.cli.activate import or_end_the_job  # noqa: PLC0415 - loads what this command needs

        return or_end_the_job(words, lambda: _run(words))
    return _run(words)


def _run(words: list[str]) -> int:
    context: click.Context | None = None
    try:
        context = cli.make_context("sharedenv", list(words))
        with context:
            result = cli.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except BrokenPipeError:
        # the reader of our results (`| head`) has gone: end without a word, as other tools do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (KeyboardInterrupt, click.Abort):
        _console(context).say("interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:  # the one place where a bug becomes a report
        told = _as_told(error, words)
        if hasattr(told, "problems"):  # BadScripts: `--help` does without its room
            from sharedenv.cli.slip import meant_by  # noqa: PLC0415 - as above

            told.hint = meant_by(told, _command(words), words, os.getcwd()) or told.hint
        if (_command(words) if context is None else context.invoked_subcommand) == "exec":
            told.exit_code = EXIT_EXEC
        _console(context).error(told)
        if wants_document(context, words):
            with contextlib.suppress(SharedenvError, BrokenPipeError):  # the error may be that nothing can be written there
                _console(context).document({"errors": [_console(context).error_value(told)]})
        return told.exit_code


def _command(words: list[str]) -> str | None:
    """The command that these words name, also where click can't read them."""
    takes_value = {flag for one in cli.params if isinstance(one, click.Option) and not one.is_flag for flag in one.opts}
    rest = iter(words)
    for word in rest:
        if word in COMMANDS:
            return word
        if word in takes_value:
            next(rest, None)
    return None


def _open_standard() -> None:
    """Sees to it that descriptors 0 to 2 are open (`2>&-`, some daemons): no file of ours may get a number that others write
    to. What goes to a closed stderr is dropped, a closed stdout stays an error.
    """
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # it gets the lowest free number: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as we are
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as we are


def _console(context: click.Context | None) -> Console:
    return context.obj if context is not None and context.obj is not None else Console()


def _as_told(error: Exception, words: list[str]) -> SharedenvError:
    if isinstance(error, SharedenvError):
        return error
    if isinstance(error, click.ClickException):
        message = error.format_message().rstrip(".")
        # click leaves the context out where an option lacks its value
        named = next((f"sharedenv {word}" for word in words if word in COMMANDS), "sharedenv")
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else named
        hint = (_misplaced(error, words) if isinstance(error, click.NoSuchOption) else None) or f"{command} --help"
        return SharedenvError(_variable(error) + message[:1].lower() + message[1:], hint=hint, exit_code=EXIT_USAGE)
    if isinstance(error, OSError) and error.errno != errno.EMFILE and error.filename is not None:
        return _refused(error)
    if isinstance(error, RuntimeError) or (isinstance(error, OSError) and error.errno == errno.EMFILE):
        from sharedenv.process import limit_error  # noqa: PLC0415 - loaded with what starts threads, or opens many files

        if told := limit_error(error):
            return told
    from sharedenv.report.bug import write_report  # noqa: PLC0415 - needed once in a blue moon

    return write_report(error, " ".join(_own_words(words)))


def _refused(error: OSError) -> SharedenvError:
    """What the file system said, where no room of ours knows better: folders closed to this user, a full disk, one that is away."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = shlex.join(["df", "-h", "-i", os.path.dirname(path) or "."] if full else ["ls", "-ld", path])
    return SharedenvError(f"can't use {path}", cause=error.strerror, hint=hint, exit_code=EXIT_FAILED)


def _variable(error: click.ClickException) -> str:
    """The variable that a wrong value came from, where it was no option on the command line."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None or error.param.name is None:
        return ""
    source = error.ctx.get_parameter_source(error.param.name)
    return f"{error.param.envvar}: " if source is click.core.ParameterSource.ENVIRONMENT else ""


def _misplaced(error: click.NoSuchOption, words: list[str]) -> str | None:
    """Where an option belongs that is not known: behind `--`, where it is the script's."""
    name = error.ctx.info_name if error.ctx else None
    if name not in ("run", "submit"):
        return None
    # where the value is a word of its own, it goes with its option
    where = next((index for index, word in enumerate(words) if word.split("=")[0] == error.option_name), len(words))
    own = [*words[where : where + 1], *(word for word in words[where + 1 : where + 2] if not word.startswith("-"))]
    text = " ".join(shlex.quote(word) for word in own or [error.option_name])
    return f"sharedenv {name} SCRIPT -- {text}, when it is the script's own; or sharedenv {name} --help"


def _own_words(words: list[str]) -> list[str]:
    """The command and the names of our options, without values: those, and all that is the script's, may be secret."""
    own: list[str] = []
    command = None
    for word in words:
        if word == "--" or (command == "exec" and not word.startswith("-")):
            break
        if word.startswith("--"):
            own.append(word.partition("=")[0])
        elif word.startswith("-"):
            own.append(word[:2])
        elif command is None and word in COMMANDS:
            command = word
            own.append(word)
    return own
