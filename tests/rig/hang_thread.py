"""Hold one thread of another process where it is, as one that hangs: hang_thread.py THREAD-ID.

Prints "held" when it stands still, and holds it until the thread is gone or standard input ends. Needs
root: the daemon lets nobody else trace it. Source: ptrace(2).
"""

import ctypes
import os
import select
import sys

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000  # threads are no children

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        number = ctypes.get_errno()
        raise SystemExit(f"cannot hold thread {thread}: {os.strerror(number)}")


def is_gone(thread):
    """A thread that ended stays a zombie until its tracer has seen it."""
    try:
        found, status = os.waitpid(thread, WALL | os.WNOHANG)
    except ChildProcessError:
        return True
    return found != 0 and not os.WIFSTOPPED(status)


def main():
    thread = int(sys.argv[1])
    ptrace(PTRACE_SEIZE, thread)
    ptrace(PTRACE_INTERRUPT, thread)
    os.waitpid(thread, WALL)
    print("held", flush=True)
    while not is_gone(thread):
        if select.select([sys.stdin], [], [], 0.05)[0]:
            break  # and the end of this process lets it go


main()
