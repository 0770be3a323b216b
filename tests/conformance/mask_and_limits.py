import os
import resource

mask = os.umask(0)
print(oct(mask), os.nice(0), [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_STACK)])
