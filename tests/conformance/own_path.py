# variables: PYTHONPATH=/nonexistent/first:/nonexistent/second
import os
import sys

print(os.environ["PYTHONPATH"], sys.path[:3])
