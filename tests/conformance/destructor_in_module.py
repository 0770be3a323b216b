import json
import sys


class Told:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        sys_stderr.write("gone: %s\n" % self.name)


sys_stderr = sys.stderr
json.mine = Told("in json")
