import sys

print(sys.flags)
print(sys.dont_write_bytecode, sys.warnoptions, sys._xoptions)
