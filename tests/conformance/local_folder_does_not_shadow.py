# file json/data.txt: nothing
import json

print(json.loads("1"))
