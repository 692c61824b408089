"""The memory of a running process, as root reads it, and what is found there."""

import ctypes
import os
import sys

WINDOW = 16
STEP = 8  # so that whatever is left of a secret in 23 bytes or more is found

# Runs a command as under a container's filter that has no memfd_secret(2).
WITHOUT_HIDING = """
import ctypes, os, struct, sys
code = struct.pack("HBBI" * 4,
    0x20, 0, 0, 0,           # the number of the system call
    0x15, 0, 1, 447,         # memfd_secret?
    0x06, 0, 0, 0x00050001,  # EPERM
    0x06, 0, 0, 0x7fff0000)  # allowed
held = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(held))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def without_hiding():
    """The `wrap` of a daemon whose secrets lie in ordinary pages, which can be read."""
    return [sys.executable, "-c", WITHOUT_HIDING]


def can_hide():
    """Whether this kernel has pages that it does not read itself."""
    libc = ctypes.CDLL(None)
    fd = libc.syscall(447, 0o2000000)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


class Mapping:
    def __init__(self, line):
        bounds, self.mode, *rest = line.split(None, 5)
        self.start, self.end = (int(bound, 16) for bound in bounds.split("-"))
        self.name = rest[3].strip() if len(rest) > 3 else ""
        self.flags = set()

    @property
    def is_for_secrets(self):
        """Locked, not dumped, and not there, or zero, in a child."""
        return {"lo", "dd"} <= self.flags and bool({"wf", "dc"} & self.flags)

    def __repr__(self):
        return f"{self.start:x}-{self.end:x} {self.mode} {self.name}".strip()


def mappings_of(pid):
    found = []
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            if line[0] in "0123456789abcdef" and "-" in line.split()[0]:
                found.append(Mapping(line))
            elif line.startswith("VmFlags:"):
                found[-1].flags = set(line.split()[1:])
    return found


def memory_of(pid):
    """All that can be read of it: [(mapping, bytes), ...]."""
    pieces = []
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for mapping in mappings_of(pid):
            if not mapping.mode.startswith("r") or mapping.name in ("[vvar]", "[vsyscall]"):
                continue
            if mapping.end - mapping.start > 1 << 30:
                continue  # a sanitizer's own
            try:
                mem.seek(mapping.start)
                pieces.append((mapping, mem.read(mapping.end - mapping.start)))
            except OSError:
                pass  # not through the kernel
    return pieces


def windows_of(secret, but=()):
    """Pieces of the secret that are in none of the others."""
    others = [other.encode() for other in but]
    data = secret.encode()
    pieces = (data[i : i + WINDOW] for i in range(0, len(data) - WINDOW + 1, STEP))
    return [piece for piece in pieces if not any(piece in other for other in others)]


def places_of(pieces, secret, but=()):
    """The mappings that hold a piece of the secret which is in none of the others."""
    windows = windows_of(secret, but)
    assert windows
    return [mapping for mapping, held in pieces if any(window in held for window in windows)]
