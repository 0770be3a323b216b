import atexit
import sys


class Told:
    def __del__(self):
        print("local gone")


def main():
    local = Told()
    atexit.register(print, "handler")
    sys.exit(2)


main()
