"""The workers of a run, for people and for programs: where each is, at work on what and since when, or why it ended. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sharedenv.report.words import case_name, count, duration, printable
from sharedenv.run.case import Case, Result
from sharedenv.run.downed import AGAIN, Downs, downs
from sharedenv.run.journal.sessions import SessionState, is_worker

_SHOWN = 20  # workers at work, each on a line of its own
_NAMED = 3  # of the scripts that one is at work on
_SAID = "drained: "  # before the reason of one that claimed nothing more


def worker_lines(sessions: Sequence[SessionState], cases: Mapping[int, Case], now: float, name: Callable[[str], str]) -> list[str]:
    """A line for each worker at work, and one for those who stopped for the same reason. ``cases``: by sequence."""
    workers = [session for session in sessions if is_worker(session.writer)]
    alive = [session for session in workers if session.alive]
    lines = [f"  {_where(session)}: {_doing(session, cases, now, name)}" for session in alive[:_SHOWN]]
    if len(alive) > _SHOWN:
        lines.append(f"  and {len(alive) - _SHOWN:,} more at work")
    for reason, found in _stopped(workers).items():
        lines.append(f"  {', '.join(sorted({_where(session) for session in found})[:_NAMED])}{_more(found)}: {reason}")
    working = f", {len(alive):,} at work" if alive else ""
    return [f"{count(len(workers), 'worker')}{working}", *lines] if workers else []


def worker_values(sessions: Iterable[SessionState]) -> list[dict[str, Any]]:
    """The workers for a JSON document."""
    return [
        {
            "host": session.owner.host if session.owner else None,
            "pid": session.owner.pid if session.owner else None,
            "started": session.started,
            "jobs": session.jobs,
            "at_work": session.alive,
            "running": [{"sequence": sequence, "since": since} for sequence, since in session.running.items()],
            "ended": session.ended or None,
        }
        for session in sessions
        if is_worker(session.writer)
    ]


def downed_lines(
    sessions: Iterable[SessionState], cases: Iterable[Case], results: Mapping[int, Result], name: Callable[[str], str], warning: str
) -> list[str]:
    """The scripts without success that were at work again and again when a worker died. ``warning``: what a line begins with."""
    found = {case: down for case, down in _downed(sessions, cases, results) if down.times >= AGAIN}
    said = {
        "took their worker down": [case for case, down in found.items() if down.alone],
        "at work beside others when their worker died": [case for case, down in found.items() if not down.alone],
    }
    lines = []
    for text, some in said.items():
        named = ", ".join(f"{printable(name(case.script))} ({found[case].times:,} times)" for case in some[:_NAMED])
        more = f" and {len(some) - _NAMED:,} more" if len(some) > _NAMED else ""
        lines += [f"{warning} {text}: {named}{more}"] if some else []
    return lines


def downed_values(sessions: Iterable[SessionState], cases: Iterable[Case], results: Mapping[int, Result]) -> list[dict[str, Any]]:
    """The same for a JSON document, with those of which it is known once."""
    return [
        {"sequence": case.sequence, "script": case.script, "arguments": case.arguments, "times": down.times, "alone": down.alone}
        for case, down in _downed(sessions, cases, results)
    ]


def _downed(
    sessions: Iterable[SessionState], cases: Iterable[Case], results: Mapping[int, Result]
) -> Iterator[tuple[Case, Downs]]:
    found = downs(sessions)
    for case in cases if found else ():
        result = results.get(case.sequence)
        if (down := found.get(case.sequence)) and not (result is not None and result.succeeded):
            yield case, down


def _where(session: SessionState) -> str:
    return f"{session.owner.host}, process {session.owner.pid}" if session.owner else "a worker that has yet to say where"


def _doing(session: SessionState, cases: Mapping[int, Case], now: float, name: Callable[[str], str]) -> str:
    running = sorted(session.running.items(), key=lambda pair: pair[1])
    known = [(cases[sequence], since) for sequence, since in running if sequence in cases]
    told = [f"{case_name(case, name)} {duration(max(0.0, now - since))}" for case, since in known]
    more = f" and {len(told) - _NAMED:,} more" if len(told) > _NAMED else ""
    return ", ".join(told[:_NAMED]) + more if told else "waits for its turn"


def _stopped(workers: Iterable[SessionState]) -> dict[str, list[SessionState]]:
    found: dict[str, list[SessionState]] = {}
    for session in workers:
        if not session.alive and session.ended != "done":
            reason = session.ended.removeprefix(_SAID) if session.ended else "died without a word"
            found.setdefault(reason, []).append(session)
    return found


def _more(found: Sequence[SessionState]) -> str:
    return f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
