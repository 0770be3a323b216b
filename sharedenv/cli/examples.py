"""Two or three examples for each command's -h. tests/cli/test_examples.py types every one of them."""

from __future__ import annotations

#: command → lines for a shell, each with a word on it ("" for none)
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "build": (
        ("sharedenv build 'case*/script.py'", "where there is a network"),
        ("sharedenv build --check '**/script.py'", "exit 1 if one is missing"),
    ),
    "run": (
        ("sharedenv run 'case*/script.py' -- --steps 1000", ""),
        ("sharedenv run -j 2 --timeout 10m --from-file list.txt", ""),
        ("sharedenv run --resume", "goes on with the last run"),
    ),
    "plan": (
        ("RUN=$(sharedenv plan 'case*/script.py')", ""),
        ('sharedenv join "$RUN"', "here, on a second machine, in any job"),
    ),
    "join": (
        ('sharedenv join "$RUN"', "until nothing is left to begin"),
        ('sharedenv join -j 2 --wait "$RUN"', "and wait for what others run"),
    ),
    "status": (
        ("sharedenv status", "the last run"),
        ("sharedenv status --follow", "until it has ended"),
        ("sharedenv status --list failed > failed.txt", "for --from-file"),
    ),
    "report": (
        ("sharedenv report -o run.html", "the last run"),
        ('sharedenv report "$RUN"', "of this run; of several, side by side"),
    ),
    "exec": (
        ("sharedenv exec case1/script.py --steps 1000", "as python case1/script.py …"),
        ("sharedenv exec --no-build case1/script.py", "builds nothing there"),
    ),
    "which": (
        ("sharedenv which 'case*/script.py'", ""),
        ('"$(sharedenv which case1/script.py)" -c \'import numpy\'', "its Python"),
        ("sharedenv which --json case1/script.py", "for an editor"),
    ),
    "key": (
        ("sharedenv key 'case*/script.py'", ""),
        ("sharedenv key --diff case1/script.py other.py", "why they don't share one"),
    ),
    "activate": (
        ('eval "$(sharedenv activate case1/script.py)"', "its Python is python"),
    ),
    "submit": (
        ("sharedenv submit 'case*/script.py' --time 2:00:00 --mem 100M", ""),
        ("sharedenv submit 'case*/script.py' --per-task 9 --print", "shows the script"),
        ("sharedenv submit 'case*/script.py' --mem 100M,200M", "more by itself"),
        ("sharedenv submit --resume --time 4:00:00", "what is left"),
    ),
    "cancel": (
        ("sharedenv cancel", "the last run"),
        ('sharedenv cancel "$RUN"', ""),
    ),
    "stage": (
        ("sharedenv stage 'case*/script.py' --to \"$TMPDIR\"", "once a node"),
    ),
    "lock": (
        ("sharedenv lock 'case*/script.py'", "writes sharedenv.lock"),
        ("sharedenv lock --check 'case*/script.py'", "exit 1 if it covers one no more"),
        ("sharedenv lock --upgrade-package numpy case1/script.py", ""),
    ),
    "export": (
        ("sharedenv export case1/script.py > requirements.txt", ""),
        ("sharedenv export --format pylock.toml -o pylock.toml case1/script.py", ""),
    ),
    "list": (
        ("sharedenv list", ""),
        ("sharedenv list --json", "for programs"),
    ),
    "show": (
        ("sharedenv show case1/script.py", ""),
        ("sharedenv show --json case1/script.py", "for programs"),
    ),
    "verify": (
        ("sharedenv verify", "all of them"),
        ("sharedenv verify --repair case1/script.py", "builds anew what fails"),
    ),
    "prune": (
        ("sharedenv prune --unused-for 30d --dry-run", "says what would go"),
        ("sharedenv prune --keep 'case*/script.py'", "all that these don't need"),
        ("sharedenv prune --pack", "keeps an archive of each"),
    ),
    "init": (
        ("sharedenv init", "here: one pool for all below"),
        ("sharedenv init ..", "for what lies beside this folder, too"),
        ("sharedenv init --max-size 20G", "builds keep it within that"),
    ),
    "doctor": (
        ("sharedenv doctor", ""),
        ("sharedenv doctor --json", "for programs"),
    ),
    "help": (
        ("sharedenv help", "lists the pages"),
        ("sharedenv help run", ""),
    ),
}  # fmt: skip


def examples(name: str) -> str:
    """The examples of a command as they stand at the end of its -h."""
    lines = EXAMPLES.get(name, ())
    width = max((len(line) for line, note in lines if note), default=0)
    return "\n".join(["Examples:", *(f"  {line.ljust(width)}  # {note}" if note else f"  {line}" for line, note in lines)])
