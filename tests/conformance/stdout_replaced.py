import io
import sys

sys.stdout = io.StringIO()
print("nobody reads this")
sys.stderr.write("err\n")
