import os

os.environ["SOMETHING"] = "set"
os.environ.setdefault("ELSE", "default")
import json

print(os.environ["SOMETHING"], os.environ["ELSE"], json.__name__, os.getenv("SOMETHING"))
