import time

print(time.process_time() < 60, time.perf_counter() > 0, time.tzname == time.tzname)
