# variables: PYTHONPATH=
import os
import sys

print(os.environ["PYTHONPATH"], sys.path)
