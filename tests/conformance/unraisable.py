class Noisy:
    def __del__(self):
        raise ValueError("in a destructor")


Noisy()
last = Noisy()
