try:
    ExceptionGroup
except NameError:
    raise SystemExit("no groups here")
raise ExceptionGroup("many", [ValueError(1), TypeError(2)])
