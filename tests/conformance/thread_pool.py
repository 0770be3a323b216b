from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(abs, range(-3, 3))))
left_open = ThreadPoolExecutor(1)
print(left_open.submit(pow, 2, 5).result())
