import os

print(sorted(int(name) for name in os.listdir("/proc/self/fd")))
print(os.open("/dev/null", os.O_RDONLY), os.readlink("/proc/self/fd/0"))
