# file lib/inner.py: VALUE = __file__.rpartition("/")[2]
import sys

sys.path.insert(0, "lib")
import inner
import json

print(inner.VALUE, sys.path[0], json.__name__)
