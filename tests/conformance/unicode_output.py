print("ünïcödé ✓ \udcff".encode("utf-8", "surrogateescape"))
print("ünïcödé ✓")
