import ctypes
import os

libc = ctypes.CDLL(None)
libc.strdup.restype = ctypes.c_void_p


def put_down(function, what):
    address = ctypes.cast(getattr(libc, function), ctypes.c_void_p)
    libc.__cxa_atexit(address, ctypes.c_void_p(libc.strdup(what)), None)


put_down("puts", b"put down first, called last")
put_down("puts", b"put down last, called first")
put_down("unlink", os.fsencode(os.path.abspath("scratch")))
open("scratch", "w").close()
libc.printf(b"what C has not written yet\n")
