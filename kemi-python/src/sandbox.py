def refuse(module, name, why, error=RuntimeError, refuses=lambda *args, **named: True, server=os.getpid()):
    """Replaces a function that would harm the server; forked children keep it."""
    original = getattr(module, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def refused(*args, **named):
        if os.getpid() == server and refuses(*args, **named):
            raise error(f"{module.__name__.lstrip('_')}.{name} {why}")
        return original(*args, **named)

    setattr(module, name, refused)


def hits_server(pid, number=None, *rest):
    """Tells whether a signal would reach the server itself."""
    if number == 0 or not isinstance(pid, int):
        return False
    return pid in (0, -1, os.getpid(), -os.getpgrp())


def hits_group(group, number=None, *rest):
    return number != 0 and group in (0, os.getpgrp())


def keep_own_signal(module):
    """Keeps the signals that interrupt scripts from being blocked."""
    original = module.pthread_sigmask

    @functools.wraps(original)
    def pthread_sigmask(how, mask, /):
        return original(how, [number for number in mask if number < signal.SIGRTMIN or how == signal.SIG_UNBLOCK])

    module.pthread_sigmask = pthread_sigmask


def system(command):
    """The os.system that can be interrupted: the one of the C library cannot."""
    sys.audit("os.system", command)
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", os.fsdecode(command)], os.environ)
    return os.waitpid(pid, 0)[1]


def cap_recursion():
    """Keeps endless recursion an error: before Python 3.12 a higher limit lets it overflow the stack."""
    original, most = sys.setrecursionlimit, max(sys.getrecursionlimit(), 1000)

    def setrecursionlimit(limit, /):
        if limit > most:
            raise ValueError(f"the recursion limit may not exceed {most}: the stack of the server's threads is limited")
        original(limit)

    sys.setrecursionlimit = setrecursionlimit


def cap_digits(most=100_000):
    """Keeps the conversion of digits, which nothing can interrupt, short."""
    original = sys.set_int_max_str_digits

    def set_int_max_str_digits(maxdigits):
        if maxdigits == 0 or maxdigits > most:
            raise ValueError(f"the limit may not exceed {most} digits: nothing can end the conversion of more in time")
        original(maxdigits)

    sys.set_int_max_str_digits = set_int_max_str_digits


for module in {os, sys.modules[os.name] if os.name in sys.modules else os}:
    for name in ("_exit", "abort"):
        refuse(module, name, "would end the whole server and is refused; use exit()")
    for name in ("execv", "execve"):
        refuse(module, name, "would replace the whole server and is refused; use subprocess")
    if hasattr(os, "kill"):
        refuse(module, "kill", "would reach the server itself and is refused; use exit()", refuses=hits_server)
        refuse(module, "killpg", "would reach the server itself and is refused; use exit()", refuses=hits_group)
    if hasattr(os, "posix_spawn"):
        module.system = system
for module in (_signal, signal):
    for name in ("alarm", "setitimer", "raise_signal", "pthread_kill", "siginterrupt"):
        refuse(module, name, "concerns the whole server and is refused")
    if hasattr(module, "pthread_sigmask"):
        keep_own_signal(module)
    # What those who try it expect on any thread but the main one.
    for name in ("signal", "set_wakeup_fd"):
        refuse(module, name, "concerns the whole server and is refused", error=ValueError)
for name in ("dump_traceback_later", "register"):
    refuse(faulthandler, name, "concerns the whole server and is refused")
refuse(_thread, "interrupt_main", "concerns the whole server and is refused")
if sys.version_info < (3, 12):
    cap_recursion()
if hasattr(sys, "set_int_max_str_digits"):
    cap_digits()
