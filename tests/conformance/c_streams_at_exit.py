import ctypes
import sys

libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
stream = libc.fopen(b"left open", b"w")
libc.fputs(b"what C has not written yet\n", ctypes.c_void_p(stream))
sys.exit(7)
