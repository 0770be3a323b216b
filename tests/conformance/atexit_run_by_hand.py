import atexit

atexit.register(print, "once")
atexit._run_exitfuncs()
import json

print(json.dumps([1]), "after")
