import atexit
import sys

atexit.register(print, "first registered, last called")
atexit.register(print, "second")


@atexit.register
def third():
    print("third", file=sys.stderr)


print("body")
