def inner():
    raise RuntimeError("deep")


def outer():
    inner()


outer()
