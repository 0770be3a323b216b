def f(x: int) -> str: ...


print(f.__annotations__, __debug__)
print(compile("1/2", "x", "eval").co_flags & 0x1FF0000)
