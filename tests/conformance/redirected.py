import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()) as text:
    print("inside")
print(repr(text.getvalue()))
