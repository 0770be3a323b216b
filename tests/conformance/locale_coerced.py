# variables: LC_ALL=
# arguments: ü
import os
import sys

print(ascii(sys.argv[1:]), sys.stdout.encoding, sys.stdout.errors, sorted(name for name in os.environ if name.startswith("LC_")))
