# file json/__init__.py: loads = "not the standard one"
import json

print(json.loads)
