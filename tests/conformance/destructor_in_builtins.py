import builtins
import sys


class Told:
    def __del__(self, write=sys.stderr.write):
        write("gone from builtins\n")


builtins.mine = Told()
