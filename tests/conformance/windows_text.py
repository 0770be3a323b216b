import json
print(json.dumps("""two
lines"""))
raise ValueError
