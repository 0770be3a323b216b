"""The use cases: what a command does, without a command line. Knows no click and prints nothing."""
