import weakref


class Thing:
    pass


thing = Thing()
weakref.finalize(thing, print, "finalised")
ref = weakref.ref(thing, lambda _: print("callback"))
del thing
other = Thing()
weakref.finalize(other, print, "finalised at exit")
