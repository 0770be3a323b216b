# file textwrap.csv: no module either
# file yaml.py: FOUND = True
try:
    import yaml
except ImportError:
    yaml = None
import textwrap

print(yaml.FOUND, textwrap.dedent(" x"))
