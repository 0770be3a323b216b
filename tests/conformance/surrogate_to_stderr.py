import sys

sys.stderr.write("lone \udcff\n")
print("lone \udcff")
