import json
import sys


def tracer(frame, event, argument):
    seen.append((frame.f_code.co_filename.rpartition("/")[2], frame.f_code.co_name, event))
    return tracer


def told():
    sys.settrace(None)
    sys.setprofile(None)
    print([one for one in seen if one[0] != "threading.py"], json.__name__)


import atexit

seen = []
atexit.register(told)
sys.setprofile(lambda frame, event, argument: seen.append((frame.f_code.co_filename.rpartition("/")[2], event)))
sys.settrace(tracer)


def traced():
    return 1


traced()
