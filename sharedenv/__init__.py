"""sharedenv: one environment for thousands of copies of a script.

The package is used through its command, ``sharedenv``; see ``sharedenv --help``. This file stays empty of imports,
since ``sharedenv exec`` pays for every one of them in each of thousands of starts.
"""

__version__ = "0.1.0"
