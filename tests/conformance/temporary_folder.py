import os
import tempfile

folder = tempfile.TemporaryDirectory(dir=".", prefix="t")
open(os.path.join(folder.name, "x"), "w").close()
named = tempfile.NamedTemporaryFile(dir=".")
print(os.path.isdir(folder.name))
