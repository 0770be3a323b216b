"""The name by which jobs that wait in a queue since an earlier version call the command: the entry of today."""

from sharedenv.entry import main

__all__ = ["main"]
