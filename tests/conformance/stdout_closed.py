import os
import sys

print("written")
sys.stdout.flush()
os.close(1)
print("cannot be written")
