import os

print(sorted(os.environ.items()))
print(type(os.environ), len(os.environ) == len(os.environb))
