# file other.py: import sys; print(__name__, len(sys.argv), sys._getframe().f_back is not None)
import runpy

print(sorted(runpy.run_path("other.py"))[:2])
