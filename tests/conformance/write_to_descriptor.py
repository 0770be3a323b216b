import os
import sys

print("first in the buffer")
os.write(1, b"second but at once\n")
sys.stdout.flush()
os.write(1, b"third\n")
