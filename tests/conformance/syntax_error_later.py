def f():
    return 1
    yield 2


x = 1
await x
