import sys

me = sys.modules["__main__"]
print(me.__dict__ is globals(), me, vars(me)["__file__"] == __file__ == sys.argv[0])
import __main__

print(__main__ is me)
