import gc

print(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks)


class Node:
    def __del__(self):
        print("collected")


node = Node()
node.me = node
del node
print(gc.collect() >= 1)
