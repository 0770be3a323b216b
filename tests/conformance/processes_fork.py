import multiprocessing


def work(n):
    return n * n, multiprocessing.current_process().name, __name__


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        print(pool.map(work, range(3)), multiprocessing.current_process().name, multiprocessing.parent_process())
