# file textwrap.csv: no module either
# file only_here_and_optional.py: FOUND = True
try:
    import only_here_and_optional
except ImportError:
    only_here_and_optional = None
import textwrap

print(only_here_and_optional.FOUND, textwrap.dedent(" x"))
