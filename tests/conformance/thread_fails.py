import threading


def fail():
    raise ValueError("in a thread")


worker = threading.Thread(target=fail, name="worker")
worker.start()
worker.join()
print("main goes on")
