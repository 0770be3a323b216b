import threading
import time


def late():
    time.sleep(0.05)
    print("after the main thread")


threading.Thread(target=late).start()
print("main done")
