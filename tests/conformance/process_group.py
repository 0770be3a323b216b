import os

print(os.getpgrp() == os.getpid(), os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid())
