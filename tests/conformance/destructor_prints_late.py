import json
import weakref


class Told:
    def __del__(self):
        print("gone")


json.mine = Told()
weakref.finalize(json.mine, print, "finalised")
