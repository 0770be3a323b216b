import multiprocessing
import os
import sys

print("imported as", __name__, os.path.basename(sys.argv[0]))


def work(queue, n):
    queue.put((n * n, __name__, os.path.basename(os.getcwd()), sys.path[0] == os.path.dirname(__file__)))


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=work, args=(queue, 3))
    child.start()
    print(queue.get())
    child.join()
    print(child.exitcode, len(multiprocessing.current_process().authkey))
