import atexit

atexit.register(print, "handler")
print("before")
raise KeyboardInterrupt
