import atexit
import os

atexit.register(print, "never")
print("lost with the buffer")
os._exit(5)
