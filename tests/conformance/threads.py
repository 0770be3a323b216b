import threading
import time

done = []


def work(n):
    time.sleep(0.001 * n)
    done.append(n)


workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(sorted(done), threading.active_count(), threading.current_thread() is threading.main_thread(), threading.main_thread().name)
