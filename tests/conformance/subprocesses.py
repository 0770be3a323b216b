import subprocess
import sys

print(subprocess.run([sys.executable, "-c", "import sys; print(sys.flags.isolated, sys.argv)"], stdout=subprocess.PIPE).stdout)
print(subprocess.call("exit 3", shell=True))
sys.stdout.flush()
subprocess.run(["sh", "-c", "echo from the shell; echo to stderr >&2"])
