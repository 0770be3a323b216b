import concurrent.futures
import multiprocessing
import os


def square(number):
    return number * number


if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(square, range(4)))
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as executor:
        print(list(executor.map(square, range(4))))
    with multiprocessing.Manager() as manager:
        print(manager.list([1, 2])[1], multiprocessing.current_process().pid == os.getpid())
    left_open = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
    print(left_open.submit(square, 3).result())
