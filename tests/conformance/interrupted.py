import os
import signal
import time

print(signal.getsignal(signal.SIGINT))
os.kill(os.getpid(), signal.SIGINT)
time.sleep(5)
