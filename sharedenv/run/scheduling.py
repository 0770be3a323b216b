"""What a process that starts many others asks of Linux's scheduler: to be woken at once, and to be taken for the light task
it is. Elsewhere nothing happens."""

from __future__ import annotations

import os
import struct
import sys
import time

_SLEEPS = 10
_SECONDS = 0.0005
_SLICE = 300_000  # nanoseconds: as long as it takes to start a case and put another down; others have 0.7 ms or more
_RESET_ON_FORK = 1  # SCHED_FLAG_* of linux/sched.h
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "ppc64le": 355, "s390x": 345}  # glibc has no name for it before 2.41


def wake_promptly() -> None:
    """Asks Linux (6.12 and later) for short time slices, for this thread alone: what it starts has the usual ones.

    A task that wakes on a busy CPU displaces what runs there only when its own slice is the shorter one; otherwise it waits
    for the next tick, up to 4 ms, while the CPU that a case has just left stands idle (Documentation/scheduler/sched-eevdf.rst;
    `perf sched` shows it). Priorities stay as they are, and whoever set one of their own (nice -5, chrt) is left alone.
    """
    number = _SCHED_SETATTR.get(os.uname().machine)
    if sys.platform != "linux" or sys.maxsize < 2**32 or number is None:  # a 32-bit Python has other numbers on the same machine
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice < 0 or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    try:
        import ctypes  # noqa: PLC0415 - three milliseconds that a run of few cases does without
    except ImportError:  # a Python built without it
        return
    # struct sched_attr: size, policy, flags, nice, priority, runtime (of an ordinary task: its slice), deadline, period
    attributes = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, _SLICE, 0, 0)
    ctypes.CDLL(None).syscall(ctypes.c_long(number), 0, attributes, 0)  # refused: as before


def calm() -> None:
    """Lets Linux forget, by 10 short sleeps (6 ms in all), that this process was busy until now.

    The scheduler keeps an estimate of how much of a CPU a task takes (util_est), from which it comes down only in sleeps that
    nobody else's work disturbs: none of ours are, once cases run. Believing us busy, it puts each new child behind another
    process on another CPU, and the one that a case has just left stands idle up to the next tick: 15 % of the time of cases
    that take 15 ms (`perf sched` shows it).
    """
    for _ in range(_SLEEPS):
        time.sleep(_SECONDS)
