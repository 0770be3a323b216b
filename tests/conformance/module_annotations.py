x: int = 3
print(__annotations__ if "__annotations__" in globals() else "not kept here")
