"""`python -m sharedenv …`; the command `sharedenv` (console-script, beside this file) calls the same."""

import sys

from sharedenv.entry import main

if __name__ == "__main__":
    sys.exit(main())
