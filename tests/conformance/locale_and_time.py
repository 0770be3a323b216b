import locale
import sys

print(locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(False), sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
