# file textwrap.py: dedent = "not the standard one"
import json
import textwrap

print(textwrap.dedent)
