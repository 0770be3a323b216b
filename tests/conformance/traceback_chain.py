try:
    {}["missing"]
except KeyError as error:
    try:
        raise ValueError("second") from error
    except ValueError:
        raise TypeError("third")
