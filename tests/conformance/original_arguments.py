# arguments: one two
import os
import sys

print([os.path.basename(word) for word in getattr(sys, "orig_argv", [])])
