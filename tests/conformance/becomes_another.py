import os
import sys

print("before")
sys.stdout.flush()
os.execv("/bin/echo", ["echo", "I am echo now"])
