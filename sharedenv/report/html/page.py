"""The text of a report: tables that stand without any script, and the places that page.js draws into. Pure; document.py reads the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from sharedenv.cluster.climbed import RungUse
from sharedenv.report.html.advice import advise
from sharedenv.report.html.rungs import rung_rows
from sharedenv.report.standing import command_text
from sharedenv.report.summary import group
from sharedenv.report.words import count, duration, printable, size
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.standing import MEANING, STOPPED
from sharedenv.run.measures import Measures
from sharedenv.run.telling import last_words
from sharedenv.start.access import SHORT

_NAMED = 100  # cases named of a group of failures
_SAID = 4000  # characters of what one of them said
_EXTREMES = 10  # slowest, largest

#: nothing is fetched, whatever the file holds
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{summary}
<div class="runs">
{runs}
</div>
<footer>Made by sharedenv {version}, {made}.</footer>
<script>{library}</script>
<script>{script}</script>
</body>
</html>
"""

_RUN = """<section class="run" aria-labelledby="run-{number}">
<h2 id="run-{number}">Run {name}</h2>
<p class="command"><code>{command}</code></p>
<p>{standing}</p>
<h3>When each script ran</h3>
<div class="timeline" data-run="{number}"></div>
<h3>How many at once</h3>
<p>{idle}</p>
<div class="plot" data-run="{number}" data-plot="at-once"></div>
<h3>How long they took</h3>
<div class="plot" data-run="{number}" data-plot="length"></div>
<h3>How much of a CPU they used</h3>
<div class="plot" data-run="{number}" data-plot="share"></div>
<h3>How much memory they took</h3>
<div class="plot" data-run="{number}" data-plot="memory"></div>
<h3>What failed</h3>
{failures}
{rungs}<h3>What was cut off, and what was tried again</h3>
{again}
<h3>The slowest and the largest</h3>
<div class="beside">{slowest}{largest}</div>
<h3>What it was computed with</h3>
{versions}
<h3>The next time</h3>
{advice}
<script type="text/plain" class="data" data-run="{number}">{data}</script>
</section>
"""


def page(
    measured: Sequence[Measures],
    data: Sequence[str],
    ladders: Sequence[Sequence[Sequence[RungUse]]],
    name: Callable[[Case], str],
    files: tuple[str, str, str],
    version: str,
    made: float,
) -> str:
    """A whole document.

    ``data``: of each run, as data.py encodes it; ``ladders``: of each run, the rungs of each submission that had some; ``files``: style,
    library and script; ``made``: seconds since the epoch.
    """
    style, library, script = files
    runs = enumerate(zip(measured, data, ladders, strict=True))
    names = ", ".join(one.run.id for one in measured)
    return _PAGE.format(
        title=escape(f"sharedenv: run {names}"),
        policy=_POLICY,
        style=style,
        summary=_summary(measured),
        runs="\n".join(_run(number, one, text, own, name) for number, (one, text, own) in runs),
        version=escape(version),
        made=_time(made),
        library=library,
        script=script,
    )


def _summary(measured: Sequence[Measures]) -> str:
    """What of several runs is to be compared, side by side."""
    rows: list[tuple[str, Callable[[Measures], str]]] = [
        ("began", lambda one: _time(one.run.asked.created)),
        ("state", lambda one: one.standing.state),
        ("scripts", lambda one: f"{one.standing.total:,}"),
        ("succeeded", lambda one: f"{one.standing.succeeded:,}"),
        ("failed", lambda one: f"{one.standing.failed:,}"),
        ("interrupted", lambda one: f"{len(one.interrupted):,}"),
        ("of these lost with their worker", lambda one: f"{one.lost:,}"),
        ("not run", lambda one: f"{one.standing.total - len(one.results):,}"),
        ("attempts", lambda one: f"{len(one.attempts):,}"),
        ("scripts tried again", lambda one: f"{len(one.again):,}"),
        ("at work for", lambda one: duration(one.standing.seconds)),
        ("scripts' time together", lambda one: duration(one.busy)),
        ("CPU time", lambda one: duration(sum(attempt.cpu for attempt in one.attempts))),
        ("slots, at most", lambda one: f"{one.slots:,}"),
        ("hosts", lambda one: f"{len({attempt.host for attempt in one.attempts}):,}"),
        ("environments", lambda one: f"{len({attempt.environment for attempt in one.attempts} - {''}):,}"),
    ]
    head = ["", *(one.run.id for one in measured)]
    return _table(head, [[label, *(tell(one) for one in measured)] for label, tell in rows], "summary")


def _run(number: int, one: Measures, data: str, ladders: Sequence[Sequence[RungUse]], name: Callable[[Case], str]) -> str:
    return _RUN.format(
        number=number,
        name=escape(one.run.id),
        command=escape(command_text(one.run.asked.command)),
        standing=escape(f"{one.standing.state}: {_meaning(one)}"),
        idle=escape(_idle(one)),
        failures=_failures(one, name),
        rungs=_rungs(ladders),
        again=_again(one, name),
        slowest=_slowest(one, name),
        largest=_largest(one, name),
        versions=_versions(one),
        advice=_advice(one, ladders[-1] if ladders else ()),
        data=data,
    )


def _meaning(one: Measures) -> str:
    if one.standing.failed and not one.standing.left:
        return f"{one.standing.failed:,} of {count(one.standing.total, 'script')} failed"
    cut = len(one.interrupted)
    if one.standing.state == STOPPED and cut and len(one.results) == one.standing.total:  # each was begun
        failed = f"{one.standing.failed:,} failed, " if one.standing.failed else ""
        return f"of {count(one.standing.total, 'script')}, {failed}{cut:,} {'was' if cut == 1 else 'were'} cut off"
    return MEANING[one.standing.state]


def _idle(one: Measures) -> str:
    if not one.offered:
        return "Nothing was started."
    return f"Of {duration(one.offered)} that the slots were there, {max(0.0, 1 - one.busy / one.offered):.0%} was idle."


def _failures(one: Measures, name: Callable[[Case], str]) -> str:
    failed = [
        (case, result)
        for case in one.cases
        if (result := one.results.get(case.sequence)) is not None and not result.succeeded and not result.interrupted
    ]
    if not failed:
        return "<p>Nothing.</p>"
    return "\n".join(
        f"<details><summary><b>{len(found.cases):,}</b> × {escape(found.said)}</summary>"
        f"<p>{_names(found.cases, name)}</p>{_said(one.results[found.cases[0].sequence], name(found.cases[0]))}</details>"
        for found in group(failed)
    )


def _rungs(ladders: Sequence[Sequence[RungUse]]) -> str:
    """A table for each submission whose options had several values; "" where none had."""
    tables = "\n".join(_table(*rung_rows(ladder), "rungs") for ladder in ladders)
    return f"<h3>What each rung of memory and time was enough for</h3>\n{tables}\n" if tables else ""


def _again(one: Measures, name: Callable[[Case], str]) -> str:
    """Interrupted cases, and those with several attempts: how many of these came to a good end, and how the first ones ended."""
    parts = []
    if cut := one.interrupted:
        lost = f", {one.lost:,} of them lost with a worker that ended without a word" if one.lost else ""
        parts.append(f"<details><summary><b>{len(cut):,}</b> interrupted{lost}</summary><p>{_names(cut, name)}</p></details>")
    tried = {case.sequence: case for case in one.again}
    if tried:
        good = sum(one.results[sequence].succeeded for sequence in tried if sequence in one.results)
        parts.append(
            f"<details><summary><b>{len(tried):,}</b> tried again, {good:,} of them with success</summary>"
            f"<p>{_names(tuple(tried.values()), name)}</p></details>"
        )
        bad = [each for each in one.attempts if each.sequence in tried and not (each.succeeded or each.interrupted)]
        first = group([(tried[each.sequence], each) for each in bad if each.attempt < one.results[each.sequence].attempt])
        parts += [f"<p><b>{len(found.cases):,}</b> of their attempts: {escape(found.said)}</p>" for found in first]
    return "\n".join(parts) or "<p>Nothing.</p>"


def _names(cases: Sequence[Case], name: Callable[[Case], str]) -> str:
    more = f" and {len(cases) - _NAMED:,} more" if len(cases) > _NAMED else ""
    return ", ".join(f"<code>{escape(name(case))}</code>" for case in cases[:_NAMED]) + more


def _said(result: Result, name: str) -> str:
    lines = "\n".join(map(printable, result.tail.splitlines()))
    said = lines if len(lines) <= _SAID else "…" + lines[-_SAID:]
    return f"<p>What the first of them, {escape(name)}, said last:</p><pre>{escape(said)}</pre>" if last_words(result.tail) else ""


def _slowest(one: Measures, name: Callable[[Case], str]) -> str:
    found = sorted(((result.seconds, case) for case, result in _ended(one)), key=lambda pair: -pair[0])[:_EXTREMES]
    return _table(("slowest", "took"), [(name(case), duration(seconds)) for seconds, case in found], "names")


def _largest(one: Measures, name: Callable[[Case], str]) -> str:
    found = sorted(((result.memory, case) for case, result in _ended(one) if result.memory), key=lambda pair: -pair[0])[:_EXTREMES]
    if not found:
        return "<p>No script was larger than what ran it, so that its memory isn't known.</p>"
    return _table(("largest", "took"), [(name(case), size(memory)) for memory, case in found], "names")


def _ended(one: Measures) -> Iterable[tuple[Case, Result]]:
    for case in one.cases:
        result = one.results.get(case.sequence)
        if result is not None and not result.interrupted:
            yield case, result


def _versions(one: Measures) -> str:
    if not one.sets:
        return "<p>Nothing tells.</p>"
    parts = []
    for used in one.sets:
        python = f", Python {used.versions.python}" if used.versions else ""
        of = ", ".join(used.environments) or "no result yet"
        listed = "what is in them isn't known"
        if used.versions:
            listed = ", ".join(f"{package} {version}" for package, version in used.versions.names.items()) or "no packages"
        parts.append(
            f"<details{'' if len(one.sets) > 3 else ' open'}><summary>versions <code>{escape(used.digest[:SHORT])}</code>{escape(python)}: "
            f"{count(len(used.cases), 'script')}, environment {escape(of)}</summary><p class='packages'>{escape(listed)}</p></details>"
        )
    return "\n".join(parts)


def _advice(one: Measures, ladder: Sequence[RungUse]) -> str:
    found = advise(one, ladder)
    rows = [(advice.option, advice.value, advice.reason) for advice in found]
    return _table(("option", "would do", "since"), rows, "advice") if rows else "<p>It has measured nothing.</p>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str) -> str:
    """A table whose first column names the rows."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _time(seconds: float) -> str:
    """A time that means the same to who reads it elsewhere."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
