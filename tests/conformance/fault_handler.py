# variables: PYTHONFAULTHANDLER=1
import faulthandler
import resource

print(faulthandler.is_enabled(), flush=True)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
faulthandler._sigabrt()
