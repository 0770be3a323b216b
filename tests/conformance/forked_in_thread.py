import os
import threading
import warnings

warnings.simplefilter("ignore")


def work():
    pid = os.fork()
    if not pid:
        os._exit(3 + (threading.main_thread() is threading.current_thread()))
    print(os.waitpid(pid, 0)[1] >> 8)


thread = threading.Thread(target=work)
thread.start()
thread.join()
