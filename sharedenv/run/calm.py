"""Why a process that was busy must rest before it starts many others."""

from __future__ import annotations

import time

_SLEEPS = 40
_SECONDS = 0.0005


def calm() -> None:
    """Lets Linux forget, by 40 short sleeps (25 ms in all), that this process was busy until now.

    The scheduler keeps an estimate of how much of a CPU a task takes (util_est), from which it comes down only in sleeps that
    nobody else's work disturbs: none of ours are, once cases run. Believing us busy, it puts each new child behind another
    process on another CPU, and the one that a case has just left stands idle up to the next tick: 15 % of the time of cases
    that take 15 ms (`perf sched timehist` shows it).
    """
    for _ in range(_SLEEPS):
        time.sleep(_SECONDS)
