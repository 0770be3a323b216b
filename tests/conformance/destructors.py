class Told:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("gone:", self.name)


a = Told("a")
b = Told("b")
_c = Told("_c")
cycle = Told("cycle")
cycle.itself = cycle
print("body")
