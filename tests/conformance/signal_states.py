with open("/proc/self/status") as file:
    for line in file:
        name, _, value = line.partition(":")
        if name in ("SigBlk", "SigIgn", "SigCgt"):
            print(name, hex(int(value, 16) & ~(3 << 31)))  # without two that belong to the C library
        elif name in ("Threads", "NoNewPrivs", "Seccomp"):
            print(name, value.strip())
