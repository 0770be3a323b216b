import sys


class Told:
    def __del__(self, write=sys.stderr.write):
        write("gone from sys\n")


sys.mine = Told()
