import atexit
import sys


def late():
    print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno, sys.last_traceback.tb_frame.f_back)


atexit.register(late)
raise ValueError("kept")
