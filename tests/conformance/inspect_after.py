# variables: PYTHONINSPECT=1
import json

print(json.dumps("then the interpreter reads its input"))
raise SystemExit(3)
