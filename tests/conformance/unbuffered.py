# variables: PYTHONUNBUFFERED=1
import os
import sys

print("at once")
os.write(1, b"then this\n")
print(sys.stdout.buffer, sys.stdout.write_through, sys.stderr.buffer)
os._exit(0)
