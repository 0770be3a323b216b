import signal

for number in range(1, signal.NSIG):
    try:
        print(number, signal.getsignal(number))
    except ValueError:
        pass
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getitimer(signal.ITIMER_REAL))
