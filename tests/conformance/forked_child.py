import os
import sys

print("before, flushed once", flush=True)
pid = os.fork()
if pid == 0:
    print("child")
    sys.exit(4)
_, status = os.waitpid(pid, 0)
print("parent", status >> 8)
