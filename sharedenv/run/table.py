"""A table of cases (`--table`): CSV, TSV or JSON lines → rows, with all that is wrong in it. Pure.

The names of the columns are in the first line, of JSON lines in each. A table is read as the names of files are: bytes that are no
UTF-8 come out again as they went in.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.run.case import Row
from sharedenv.values import frozen

_GROUPS = 12  # kinds of problems told
_EXAMPLES = 5  # places named of each
_JSON = (".jsonl", ".ndjson", ".json")
_TABS = (".tsv", ".tab")
_Record = tuple[int, list[str], list[str] | None]  # line, names (empty: those of the header), values; None: it could not be read


@frozen
class TableProblem:
    """What is wrong, and where: a line of the table, None for what is no matter of a line; ``place``: what else tells where."""

    line: int | None
    text: str
    place: str = ""


@frozen
class Table:
    """The columns of a table, its good rows, and what is wrong with the others."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[TableProblem, ...]


def parse_table(data: bytes, name: str) -> Table:
    """The rows of a table; ``name``: of the file, whose ending tells what it is; where it doesn't, the first characters do."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Table((), (), (TableProblem(1, "this is UTF-16; save it as UTF-8"),))
    text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    problems: list[TableProblem] = []
    ending = os.path.splitext(name)[1].lower()
    if ending in _JSON or (ending not in (*_TABS, ".csv") and text.lstrip()[:1] == "{"):
        records = _objects(text, problems)
    else:
        tabs = ending in _TABS or (ending != ".csv" and "\t" in text.lstrip().partition("\n")[0])
        records = _delimited(text, "\t" if tabs else ",", problems)
    return _checked(records, problems)


def _delimited(text: str, delimiter: str, problems: list[TableProblem]) -> Iterator[_Record]:
    """The records of a CSV file, the first of them with the names."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append(TableProblem(line, _QUOTES.get(str(error), str(error))))
            continue
        if fields:  # an empty line is none
            yield line, [], fields


#: what the csv module says → in words for the user
_QUOTES = {"unexpected end of data": "a quote that begins here never ends"}


def _objects(text: str, problems: list[TableProblem]) -> Iterator[_Record]:
    """The records of a file of JSON lines; numbers are as they were written."""
    for line, words in enumerate(text.split("\n"), 1):
        if not words.strip():
            continue
        try:
            pairs = _decode(words)
        except (ValueError, RecursionError) as error:
            problems.append(TableProblem(line, f"no JSON: {getattr(error, 'msg', error)}"))
            continue
        if not isinstance(pairs, _Pairs):
            problems.append(TableProblem(line, 'no JSON object, such as {"alpha": 0.3}'))
            continue
        names, values = [name for name, _ in pairs], [_text(value) for _, value in pairs]
        faults = [f"the name {name!r} twice" for name in dict.fromkeys(names) if names.count(name) > 1]
        nested = [name for name, value in zip(names, values, strict=True) if value is None]
        faults += [f"the value of {name!r} is neither a string nor a number" for name in nested]
        problems += [TableProblem(line, fault) for fault in faults]
        yield line, names, None if faults else [value for value in values if value is not None]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object: its names and values, as they stand."""


_decode = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str).decode
_CONSTANTS = {None: "", True: "true", False: "false"}


def _text(value: object) -> str | None:
    """A value as text, null as a CSV file has it; None for a list or an object."""
    if isinstance(value, str):
        return value
    return None if isinstance(value, list) else _CONSTANTS[value]  # type: ignore[index]  # the decoder gives nothing else


def _checked(records: Iterable[_Record], problems: list[TableProblem]) -> Table:
    columns: tuple[str, ...] = ()
    rows: list[Row] = []
    seen: dict[tuple[str, ...], int] = {}
    for line, names, values in records:
        if not columns:
            columns = tuple(dict.fromkeys(names)) or tuple(values or ())
            problems += _bad_columns(columns, line)
            if not names:
                continue
        if values is None:
            continue
        if fault := _misfit(columns, names, values):
            problems.append(TableProblem(line, fault))
            continue
        own = tuple(values)
        if names and tuple(names) != columns:
            given = dict(zip(names, values, strict=True))
            own = tuple(given[column] for column in columns)
        if fault := _unusable(own):
            problems.append(TableProblem(line, fault))
        elif (first := seen.setdefault(own, line)) != line:
            problems.append(TableProblem(line, "the same as an earlier row", f"as line {first}"))
        else:
            rows.append(Row(line, columns, own))
    if not columns and not problems:
        problems.append(TableProblem(1, "the table is empty; its first line names the columns"))
    elif not rows and not problems:
        problems.append(TableProblem(1, "no row follows the names of the columns"))
    problems.sort(key=lambda one: one.line or 0)
    return Table(columns, tuple(rows), tuple(problems))


def _bad_columns(columns: Sequence[str], line: int) -> Iterator[TableProblem]:
    for name in dict.fromkeys(columns):
        if not name:
            yield TableProblem(line, "a column without a name")
        elif columns.count(name) > 1:
            yield TableProblem(line, f"two columns with the name {name!r}")


def _misfit(columns: Sequence[str], names: Sequence[str], values: Sequence[str]) -> str:
    """Why a record is no row of a table with these columns, in words; "" for a row."""
    if not names:
        many = f"{len(values)} field{'s' if len(values) != 1 else ''}"
        return "" if len(values) == len(columns) else f"{many}, and the first line names {len(columns)} columns"
    lacking = [name for name in columns if name not in names]
    strange = [name for name in names if name not in columns]
    told = [f"without {', '.join(map(repr, lacking))}"] if lacking else []
    told += [f"with {', '.join(map(repr, strange))}, which the first line has not"] if strange else []
    return " and ".join(told)


def _unusable(values: Sequence[str]) -> str:
    """Why no process can be given these values, in words; "" where it can."""
    if any("\0" in value for value in values):
        return "a NUL byte, which no argument may hold"
    try:
        os.fsencode("".join(values))
    except UnicodeEncodeError as error:
        return f"a character that has no bytes here: {error.object[error.start]!a}"
    return ""


class BadTable(SharedenvError):
    """A table that can't be used: all that is wrong with it, on one screen."""

    def __init__(self, name: str, problems: Sequence[TableProblem]) -> None:
        groups: dict[str, list[TableProblem]] = {}
        for problem in problems:
            groups.setdefault(problem.text, []).append(problem)
        lines = [line for group in list(groups.values())[:_GROUPS] for line in _told(name, group)]
        if (left := len(groups) - _GROUPS) > 0:
            lines.append(f"… and {left:,} more kinds of errors")
        line = next((problem.line for problem in problems if problem.line), 1)
        super().__init__(
            f"the table {name} can't be used; nothing was done",
            cause="\n".join(lines),
            hint=None if name == "-" else f"sed -n {line}p {shlex.quote(name)}",
            exit_code=EXIT_USAGE,
        )


def _told(name: str, group: Sequence[TableProblem]) -> Iterator[str]:
    """The lines of problems that say the same."""
    text = group[0].text
    if group[0].line is None:
        yield text
    elif len(group) == 1:
        yield f"{_place(name, group[0])}: {text}"
    else:
        yield f"{len(group):,} rows: {text}"
        shown = group if len(group) <= _EXAMPLES + 1 else group[:_EXAMPLES]
        yield from [f"    {_place(name, problem)}" for problem in shown]
        if len(group) > len(shown):
            yield f"    … and {len(group) - len(shown):,} more"


def _place(name: str, problem: TableProblem) -> str:
    return f"{name}:{problem.line}" + (f" ({problem.place})" if problem.place else "")
