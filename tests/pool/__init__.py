"""The pool on disk, and the versions that it holds."""
