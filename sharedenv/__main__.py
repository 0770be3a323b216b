"""The entry: `sharedenv …` and `python -m sharedenv …`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Runs the command line and returns its exit status."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("exec", "which", "activate"):
        from sharedenv.fast import fast  # noqa: PLC0415 - other commands do without it

        status = fast(arguments, os.environ)
        if status is not None:
            return status
    from sharedenv.cli.main import main as run_command  # noqa: PLC0415 - exec may do without it

    return run_command()


if __name__ == "__main__":
    sys.exit(main())
