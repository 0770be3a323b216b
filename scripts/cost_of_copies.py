"""What `uv run` pays for each copy of a script, measured on a few copies, beside what the pool holds.

Usage: cost_of_copies.py SCRIPT… --copies N     (in the project's folder, after `sharedenv run`)

Disk is what the file system gives: bytes of files that have no other name (hard links into uv's cache are free) and
of folders. The environments that `uv run` makes here are removed again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from pathlib import Path

from uv import find_uv_bin


def cost(folder: Path) -> tuple[int, int]:
    """Bytes that a tree alone occupies, and its directory entries."""
    total = entries = 0
    for root, folders, files in os.walk(folder):
        total += os.lstat(root).st_blocks * 512
        entries += len(folders) + len(files)
        for name in files:
            found = os.lstat(os.path.join(root, name))
            total += found.st_blocks * 512 if found.st_nlink == 1 else 0
    return total, entries


def environments_of_uv(uv: str) -> set[Path]:
    """The folders of uv's one-environment-a-script store."""
    cache = Path(subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip())
    return {path for store in cache.glob("environments-v*") for path in store.iterdir()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scripts", nargs="+")
    parser.add_argument("--copies", type=int, required=True)
    options = parser.parse_args()
    uv = find_uv_bin()
    before = environments_of_uv(uv)
    # containers often set these, and a first run's bytecode is most of what a copy costs
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")}
    started = time.monotonic()
    for script in options.scripts:
        folder, name = os.path.split(script)
        subprocess.run([uv, "run", "--quiet", name], cwd=folder or ".", env=env, check=True, stdout=subprocess.DEVNULL)
    seconds = (time.monotonic() - started) / len(options.scripts)
    made = environments_of_uv(uv) - before
    measured = [cost(path) for path in made]
    size, entries = (sum(column) / len(made) for column in zip(*measured, strict=True))
    for path in made:
        shutil.rmtree(path)
    pool_size, pool_entries = cost(Path(".sharedenv"))
    print(f"{'':28}{'uv run: one a copy':>24}{'sharedenv: the pool':>24}")
    rows = [
        ("environments", options.copies, sum(1 for _ in Path(".sharedenv/envs").iterdir()), "{:,.0f}"),
        ("disk (MB)", size * options.copies / 1e6, pool_size / 1e6, "{:,.1f}"),
        ("directory entries", entries * options.copies, pool_entries, "{:,.0f}"),
        ("each further copy (MB)", size / 1e6, 0, "{:,.1f}"),
    ]
    for label, theirs, ours, form in rows:
        print(f"{label:28}{form.format(theirs):>24}{form.format(ours):>24}")
    print(f"\nuv run: measured on {len(made)} copies ({seconds:.1f} s each for the first run), times {options.copies}")


if __name__ == "__main__":
    main()
