import atexit

atexit._clear()
atexit.register(print, "registered after the clearing")
