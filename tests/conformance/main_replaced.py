import sys
import types


class Told:
    def __del__(self):
        print("gone")


told = Told()
sys.modules["__main__"] = types.ModuleType("other")
