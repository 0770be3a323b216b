# arguments: --flag=ü
# variables: LC_ALL=C
# variables: PYTHONCOERCECLOCALE=0
# variables: PYTHONUTF8=0
import sys

print(ascii(sys.argv[1:]), sys.getfilesystemencoding(), sys.stdout.encoding)
