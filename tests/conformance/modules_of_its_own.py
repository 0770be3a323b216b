import json
import sys


class Told:
    def __del__(self):
        print("gone")


class Modules(dict):
    pass


json.mine = Told()
sys.modules["of_mine"] = Told()
del sys.modules["json.decoder"]
import json.decoder

sys.modules = Modules(sys.modules)
