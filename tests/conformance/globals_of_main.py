for name in sorted(globals()):
    if name not in ("__loader__", "__builtins__"):
        print(name, globals()[name] if name != "name" else "")
print(type(__loader__), __loader__.name, __loader__.path)
print(__builtins__, __name__, __spec__, __package__)
