import sys

try:
    sys.exit(3)
except SystemExit as error:
    saved = error
raise KeyError("not the saved one")
