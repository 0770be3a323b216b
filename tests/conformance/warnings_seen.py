import warnings

warnings.warn("mine")
warnings.warn("old", DeprecationWarning)
for _ in range(3):
    warnings.warn("once", UserWarning)
print(len(warnings.filters) > 0, "__warningregistry__" in globals())
