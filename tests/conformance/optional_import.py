try:
    import no_such_module_anywhere as fast
except ImportError:
    import json as fast
print(fast.__name__)
