def waiting():
    try:
        yield 1
    finally:
        print("generator closed")


g = waiting()
next(g)
