import logging
import multiprocessing
import os
import sys
import threading
import time

record = logging.LogRecord("name", logging.INFO, "path", 1, "message", (), None)
print(record.relativeCreated < 20000, record.process == os.getpid(), record.processName)
print(threading.get_native_id() == threading.main_thread().native_id == os.getpid() == multiprocessing.current_process().pid)
print(sys.modules.get("__mp_main__") is sys.modules["__main__"], time.process_time() < 20, multiprocessing.active_children())
