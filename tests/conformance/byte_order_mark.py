import json

print(json.dumps("ü"), __doc__)
1 / 0
