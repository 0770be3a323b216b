# variables: PYTHONHASHSEED=7
import sys

print(hash("text"), sys.flags.hash_randomization, list({"a", "b", "c", "d"}))
