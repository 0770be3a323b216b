import inspect
import sys

print(sys._getframe().f_back, len(inspect.stack()), sys._getframe().f_code.co_name)
print(sys._getframe().f_globals is globals(), sys._getframe().f_locals is locals() is globals())
print(sys.exc_info())
