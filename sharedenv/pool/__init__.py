"""The pool: environments built once, published atomically, shared by every run of a project."""
