class Told:
    def __del__(self):
        print("gone", OTHER is None, len("still here"))


OTHER = "other"


def uses():
    return keep


keep = Told()
