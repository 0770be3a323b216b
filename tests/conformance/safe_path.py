# variables: PYTHONSAFEPATH=1
import sys

print(sys.path, getattr(sys.flags, "safe_path", None))
