"""The entry: `sharedenv …` and `python -m sharedenv …`."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command line and returns its exit status."""
    from sharedenv.cli.main import main as run_command  # noqa: PLC0415 - exec may do without it

    return run_command()


if __name__ == "__main__":
    sys.exit(main())
