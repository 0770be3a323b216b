text = "\d"
assert (text, "always true")
print(text is "\d" or "told")
