# variables: PYTHONWARNINGS=error
import warnings

print("before")
warnings.warn("now an error")
