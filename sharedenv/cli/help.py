"""`sharedenv help`: the pages of the manual in docs/, and what each command says to -h."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from typing import TYPE_CHECKING

import click

from sharedenv.errors import SharedenvError
from sharedenv.report.console import Console
from sharedenv.report.page import plain, rendered

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_PAGES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "docs")
#: the pages in the order in which a user meets them; what is not named here comes after them
_ORDER = (
    "run", "cluster", "keys", "versions", "pool", "preload", "editors", "workflows", "ci", "site", "python", "faults", "files",
    "from-uv-run", "reference", "speed", "design", "facts",
)


def topics() -> list[str]:
    """The names of the pages, in order."""
    found = {name.removesuffix(".md") for name in os.listdir(_PAGES) if name.endswith(".md")}
    return [name for name in _ORDER if name in found] + sorted(found.difference(_ORDER))


def read_page(topic: str) -> str:
    """The Markdown of a page."""
    with open(os.path.join(_PAGES, topic + ".md"), encoding="utf-8") as file:
        return file.read()


def _complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a shell asks

    assert context.parent is not None
    names = [*topics(), *(name for name in _commands(context.parent) if name not in topics())]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command("help")
@click.argument("topic", metavar="[TOPIC|COMMAND]", required=False, shell_complete=_complete)
@click.pass_context
def help_(context: click.Context, topic: str | None) -> None:
    """Show a page of the manual, or the options of a command; without a name, list the pages."""
    console, frame = context.obj, context.parent
    assert isinstance(console, Console) and frame is not None
    if topic is None:
        console.result(_contents())
        return
    commands = _commands(frame)
    if topic not in topics() and topic not in commands:
        near = difflib.get_close_matches(topic, [*topics(), *commands], 3)
        meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise SharedenvError(f"no page and no command {topic!r}{meant}", hint="sharedenv help")
    text = page = ""
    if topic in commands:
        command = frame.command.get_command(frame, topic)  # type: ignore[attr-defined]  # a group
        text = command.get_help(command.context_class(command, info_name=topic, parent=frame)) + "\n"
    if topic in topics():
        page = ("\n" if text else "") + _page(read_page(topic), console)
    _show(text + page)


def _commands(frame: click.Context) -> list[str]:
    assert isinstance(frame.command, click.Group)
    return frame.command.list_commands(frame)


def _contents() -> str:
    """A line for each page: its name and its heading."""
    names = topics()
    width = max(map(len, names)) + 2
    lines = [f"  {name:<{width}}{read_page(name).partition(chr(10))[0].removeprefix('# ')}" for name in names]
    return "\n".join(["Pages of the manual, each shown by `sharedenv help TOPIC`:", "", *lines, "",
                      "`sharedenv help COMMAND` shows the options of a command, as `sharedenv COMMAND -h` does."])


def _page(text: str, console: Console) -> str:
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return plain(text)
    colored = console.color == "always" or (console.color == "auto" and not os.environ.get("NO_COLOR"))
    return rendered(text, width=shutil.get_terminal_size().columns, colored=colored)


def _show(text: str) -> None:
    """Through a pager at a terminal (PAGER, else less or more), as manuals are read; straight on into a pipe."""
    if sys.stdout.isatty():
        click.echo_via_pager(text, color=True)
    else:
        Console().result(text.rstrip("\n"))
