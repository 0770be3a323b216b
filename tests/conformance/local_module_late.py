# file helper.py: import json; VALUE = json.__name__
import json
import os
import helper
import textwrap

print(helper.VALUE, os.name, textwrap.dedent(" x"))
