import sys

print("buffered until the end or the traceback")
sys.stderr.write("at once\n")
raise ValueError("last")
