"""Cases and results as JSON lines. Pure.

One record a line, ASCII: a name that is no UTF-8 travels as lone surrogates (`\\udcXX`), as Python's file system
encoding gives it, and comes back as the same bytes.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from sharedenv.run.case import Case, Result, Row

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False).encode
_PIECE = 1 << 20  # bytes of a session's file decoded at a time
LINE = 64 << 20  # bytes: more than the longest line, with all that a command line may hold


def encode_line(record: Mapping[str, Any]) -> bytes:
    """One record as a line."""
    return _encode(record).encode("ascii") + b"\n"


def decode_lines(data: bytes) -> Iterator[dict[str, Any]]:
    """The records of a file. Lines that are no JSON object (torn by a crash or a full disk) are passed over."""
    lines = list(filter(None, data.split(b"\n")))
    try:
        # one call for all lines is several times faster, and most files are whole
        whole = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        pass
    else:
        if len(whole) == len(lines):
            yield from (record for record in whole if isinstance(record, dict))
            return
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def encode_plan(cases: Iterable[Case], root: str, arguments: Sequence[str], cwd: str | None) -> Iterator[bytes]:
    """The lines of a plan. What most cases share (the run's arguments and folder) is left out; paths below ``root``
    are relative to it. By hand: the first case waits for all these lines, and an encoder of each takes 50 ms more of 20,000.
    """
    shared = tuple(arguments)
    prefix = root.rstrip("/") + "/"
    for case in cases:
        script = _encode(case.script.removeprefix(prefix))
        text = f'{{"sequence":{case.sequence},"script":{script},"key":{_encode(case.key)},"digest":{_encode(case.digest)}'
        if case.arguments != shared:
            text += f',"arguments":{_encode(case.arguments)}'
        if case.cwd != cwd:
            text += f',"cwd":{_encode(case.cwd)}'
        if case.row is not None:
            text += f',"line":{case.row.line},"row":{_encode(case.row.by_name)}'
        yield text.encode("ascii") + b"}\n"


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, some at a time, at last what has no end. Raises OSError, and ValueError for what nobody of ours writes: a line
    of many megabytes.
    """
    rest = b""
    while piece := file.read(_PIECE):
        head, end, rest = (rest + piece).rpartition(b"\n")
        if len(rest) > LINE:
            raise ValueError(f"a line of more than {LINE >> 20} MB")
        yield head + end
    yield rest


def decode_plan(pieces: Iterable[bytes], root: str, arguments: Sequence[str], cwd: str | None) -> Iterator[Case]:
    """The cases of a plan, as encode_plan wrote them; each of the pieces holds whole lines."""
    shared = tuple(arguments)
    interned: dict[str, str] = {}
    columns: dict[tuple[str, ...], tuple[str, ...]] = {}
    for record in itertools.chain.from_iterable(map(decode_lines, pieces)):
        given = record.get("arguments")
        yield Case(
            record["sequence"],
            os.path.join(root, record["script"]),
            shared if given is None else tuple(given),
            interned.setdefault(record["key"], record["key"]),
            interned.setdefault(record["digest"], record["digest"]),
            record.get("cwd", cwd),
            _row(record, columns) if "row" in record else None,
        )


def _row(record: Mapping[str, Any], interned: dict[tuple[str, ...], tuple[str, ...]]) -> Row:
    columns = tuple(record["row"])
    return Row(record["line"], interned.setdefault(columns, columns), tuple(record["row"].values()))


def encode_result(result: Result, started: Sequence[tuple[int, int]] = (), environment: str = "") -> bytes:
    """One result as a line, with the name of its environment, and sequence and process group of the cases that were started
    meanwhile; what is empty is left out.
    """
    always = {
        "sequence": result.sequence, "attempt": result.attempt, "start": round(result.start, 3), "seconds": round(result.seconds, 4),
        "cpu": round(result.cpu, 4), "memory": result.memory, "status": result.status, "signal": result.signal, "host": result.host,
        "output": result.output,
    }  # fmt: skip
    more = {
        "error": result.error, "tail": result.tail, "digest": result.digest, "environment": environment, "slot": result.slot,
        "gpus": result.gpus, "done_before": result.done_before, "started": started,
    }  # fmt: skip
    return encode_line({**always, **{name: value for name, value in more.items() if value}})


_NEEDED = frozenset(("sequence", "attempt", "start", "seconds", "cpu", "memory", "status", "signal", "host"))


def is_result(record: Mapping[str, Any]) -> bool:
    """Whether a record holds all that a result needs."""
    return record.keys() >= _NEEDED and type(record["sequence"]) is int and type(record["start"]) is float


def decode_result(record: Mapping[str, Any], environments: Mapping[str, tuple[str, str]], began: float = 0.0) -> Result:
    """A result of its record; ``environments``, ``began``: of its session. Raises KeyError for a record that is none."""
    name = record.get("environment", "")
    environment, versions = environments.get(name, (name, ""))
    return Result(
        record["sequence"],
        record["attempt"],
        record["start"],
        record["seconds"],
        record["cpu"],
        record["memory"],
        record["status"],
        record["signal"],
        record["host"],
        record.get("error", ""),
        record.get("tail", ""),
        record.get("digest", ""),
        record.get("output", 0),
        environment,
        versions,
        began,
        record.get("done_before", False),
        record.get("slot", 0),
        tuple(record.get("gpus", ())),
    )
