import signal
import time


def ring(number, frame):
    print("ring", number, frame.f_lineno)


signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.02)
time.sleep(0.2)
