import sys


def hook(kind, value, trace):
    sys.exit(42)


sys.excepthook = hook
raise ValueError("original")
