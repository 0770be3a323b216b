import sys
import traceback
import warnings

traceback.print_stack()
traceback.print_stack(file=sys.stdout)
warnings.warn("at the top", stacklevel=1)
warnings.warn("above the top", stacklevel=2)
warnings.warn("high above", stacklevel=5)
