import importlib
import json
import sys

importlib.reload(json)
del sys.modules["json"]
import json as again

print(again is json, again.loads("[1]"))
