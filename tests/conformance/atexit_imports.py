import atexit


def late():
    import json
    import textwrap

    print(json.dumps({"a": 1}), textwrap.dedent(" x"))


atexit.register(late)
