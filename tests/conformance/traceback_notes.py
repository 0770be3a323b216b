error = ValueError("with a note")
if hasattr(error, "add_note"):
    error.add_note("noted")
raise error
