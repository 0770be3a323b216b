import sys

for number in range(5000):
    print("line", number)
sys.stdout.buffer.write(b"\x00\xff" * 1000)
