"""`sharedenv prune`."""

from __future__ import annotations

import os

import click

from sharedenv.app.needs import unfinished_needs
from sharedenv.app.project import Selection, existing_pool, open_project
from sharedenv.care.prune import Policy, Pruned, Verdict, prune, remove_pool, run_files
from sharedenv.cli.amounts import age, volume
from sharedenv.cli.options import contrary, json_option, needing, option
from sharedenv.cli.scripts import script_options
from sharedenv.cli.unfinished import lost_with
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.bounds import read_bounds
from sharedenv.pool.held import forget_unused
from sharedenv.pool.layout import Layout
from sharedenv.report.bounds import gone_words
from sharedenv.report.console import Console
from sharedenv.report.words import count, size


class _Usage(click.Command):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return ["[OPTIONS]", "[--keep SCRIPT...]"]


@contrary("everything", "keep", why="--all stands alone, nothing is left to choose")
@contrary("everything", "unused_for", why="--all stands alone, nothing is left to choose")
@contrary("everything", "max_size", why="--all stands alone, nothing is left to choose")
@contrary("everything", "packs", why="--all keeps nothing")
@needing("from_file", "keep")
@click.command("prune", cls=_Usage)
@script_options
@option("--unused-for", type=age, metavar="AGE", help="What was not used for AGE: 30d, 12h, 2w. [default: 30d]")
@option("--max-size", type=volume, metavar="SIZE", help="The least recently used, until the rest takes SIZE: 20G.")
@option("--keep", envvar=None, is_flag=True, help="What the scripts named need stays; alone: all the rest goes.")
@option(
    "--pack/--no-pack", "packs", default=None,
    help="Keep a compressed archive of each that goes, which the next build unpacks. [default: as the pool says, see init]",
)  # fmt: skip
# SHAREDENV_ALL is set for `status --all`: what a variable says for one command must not remove a pool
@option(
    "--all", "everything", envvar=None, is_flag=True,
    help="All that is not in use; the pool's folder too when nothing is left. Exit 1 if nothing could go.",
)  # fmt: skip
@option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@json_option
@click.pass_obj
def prune_(
    console: Console,
    selection: Selection,
    unused_for: float | None,
    max_size: int | None,
    keep: bool,
    packs: bool | None,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Remove environments that are no longer wanted, and what killed builds left behind.

    Folders of environments are read-only, so rm -rf fails on a pool: --all removes it, with the journals of its runs.
    Never waits: what runs, what a run at work (or in Slurm's queue) needs and what is in doubt stays, and is named.
    """
    if keep == selection.empty:
        raise click.UsageError("--keep wants the scripts to keep for" if keep else "scripts are named with --keep: --keep SCRIPT...")
    layout, kept = _kept(console.pool, selection) if keep else (existing_pool(console.pool), None)
    for text in lost_with(layout) if everything else ():
        console.warn(text)
    whole = everything and not dry_run
    files = run_files(layout) if whole else frozenset()
    needed = unfinished_needs(layout)
    policy = Policy(
        unused_for,
        max_size,
        frozenset() if everything else kept,
        needed.keys,
        needed.doubt,
        pack=not everything and (read_bounds(layout).pack if packs is None else packs),
        dry_run=dry_run,
    )
    pruned = prune(layout, policy)
    stays = remove_pool(layout, pruned, policy, files) if whole else None
    if stays:
        forget_unused(layout)
    status = EXIT_FAILED if stays and not any(verdict.removed for verdict in pruned.verdicts) else 0
    if as_json:
        console.document({**_value(layout, pruned, policy), "pool_removed": whole and stays is None})
        return status
    _print(layout, pruned, policy, console)
    if whole:
        console.say(f"kept the pool {layout.path}: {stays}" if stays else f"removed the pool {layout.path}")
    return status


def _kept(pool: str | None, selection: Selection) -> tuple[Layout, frozenset[str]]:
    # a script that can't be read is an error here: its environment would go for a slip of the pen
    project = open_project(pool, selection)
    if not os.path.exists(project.layout.marker):
        raise SharedenvError(f"no pool at {project.layout.path}", hint="sharedenv build 'case*/script.py'")
    return project.layout, frozenset(project.any_plan(project.paths, full=True).needs)


def _print(layout: Layout, pruned: Pruned, policy: Policy, console: Console) -> None:
    if (blind := pruned.blind) is not None:
        console.warn(
            f"locks on {blind.type} at {blind.mount} don't reach other nodes, as far as is known: "
            "what was used within a day stays"
        )
    for verdict in pruned.verdicts:
        if verdict.removed:
            console.result(f"{_done(verdict, policy)} {verdict.environment.name} ({_sizes(verdict)}): {verdict.reason}")
        else:
            console.result(f"kept {verdict.environment.name}: {verdict.reason}")
    gone = [item for item in pruned.rubbish if item.removed or (policy.dry_run and not item.live)]
    for item in pruned.rubbish:
        word = "removed" if item.removed else "kept"
        console.detail(f"{word} {os.path.relpath(item.path, layout.path)}: {item.reason}")
    removed = [verdict for verdict in pruned.verdicts if verdict.removed]
    packed = sum(verdict.archive is not None for verdict in removed)
    rubbish = f" and {count(len(gone), 'piece')} of rubbish" if gone else ""
    remove, pack = ("would remove", "would pack") if policy.dry_run else ("removed", "packed")
    done = [f"{remove} {count(len(removed) - packed, 'environment')}"] if len(removed) > packed or not packed else []
    done += [f"{pack} {count(packed, 'environment')}"] if packed else []
    gone_bytes = gone_words(pruned.gone, pruned.linked)
    console.say(f"{' and '.join(done)} ({gone_bytes}){rubbish}, kept {len(pruned.verdicts) - len(removed):,}")
    if pruned.over:
        console.warn(f"what stays takes {size(pruned.over)} more than asked for: why it stays is said above")


def _done(verdict: Verdict, policy: Policy) -> str:
    if verdict.archive is None:
        return "would remove" if policy.dry_run else "removed"
    return "would pack" if policy.dry_run else "packed"


def _sizes(verdict: Verdict) -> str:
    shared = f", {size(verdict.linked)} of it shared" if verdict.linked else ""
    return size(verdict.environment.bytes) + shared + (f" → {size(verdict.archive)}" if verdict.archive else "")


def _value(layout: Layout, pruned: Pruned, policy: Policy) -> dict[str, object]:
    return {
        "pool": layout.path,
        "dry_run": policy.dry_run,
        "removed": [{**_verdict_value(verdict), "linked_bytes": verdict.linked} for verdict in pruned.verdicts if verdict.removed],
        "kept": [_verdict_value(verdict) for verdict in pruned.verdicts if not verdict.removed],
        "rubbish": [{"path": item.path, "reason": item.reason, "removed": item.removed} for item in pruned.rubbish],
        "freed": pruned.freed,
        "over_max_size": pruned.over,
        "locks_reach_other_nodes": pruned.blind is None,
        "errors": [],
    }


def _verdict_value(verdict: Verdict) -> dict[str, object]:
    item = verdict.environment
    return {
        "name": item.name,
        "key": item.key,
        "path": item.path,
        "bytes": item.bytes,
        "last_use": item.last_use,
        "reason": verdict.reason,
        "packed": verdict.archive is not None or item.packed,
    }
