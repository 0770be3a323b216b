# variables: PYTHONIOENCODING=ascii:backslashreplace
print("ü", flush=True)
