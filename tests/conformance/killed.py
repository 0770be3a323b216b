import os
import signal

print("lost with the buffer")
os.kill(os.getpid(), signal.SIGKILL)
