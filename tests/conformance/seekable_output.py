import sys

print(sys.stdout.seekable(), sys.stdout.buffer.raw.seekable(), sys.stdin.seekable())
