import atexit
import os

atexit.register(print, "exit handler")
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
print("child" if not pid else "parent")
