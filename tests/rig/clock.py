"""Clocks that a test moves: the machine sleeps, or somebody sets its clock, as far as the daemon sees.

Nothing of this host's clock is touched: a small library, preloaded into the daemon, adds to what the
kernel tells, and passes on the kernel's notice of a step.
"""

import os
import pathlib
import struct

from rig.preload import library


class ShiftedClock:
    """The clock of programs that run with `environment`."""

    def __init__(self, directory):
        self._file = pathlib.Path(directory) / "clock"
        self._file.write_bytes(struct.pack("qq", 0, 0))
        self._steps = str(self._file) + ".steps"
        os.mkfifo(self._steps)
        # Kept open, so that what was written stays until a program comes to read it.
        self._steps_fd = os.open(self._steps, os.O_RDWR | os.O_NONBLOCK)
        self.realtime_s = 0.0
        self.boottime_s = 0.0

    @property
    def environment(self):
        return {"LD_PRELOAD": library("shifted_clock"), "SHIFTED_CLOCK": str(self._file)}

    def close(self):
        os.close(self._steps_fd)

    def _shift(self, realtime_s, boottime_s, is_told):
        self.realtime_s += realtime_s
        self.boottime_s += boottime_s
        shift = struct.pack("qq", int(self.realtime_s * 1000), int(self.boottime_s * 1000))
        with open(self._file, "r+b", buffering=0) as file:
            file.write(shift)
        if is_told:
            os.write(self._steps_fd, b"!")

    def sleep(self, seconds, is_told=True):
        """The machine sleeps so long, and wakes up."""
        self._shift(seconds, seconds, is_told)

    def set(self, by_s):
        """Somebody sets the clock forward, or back if it is below 0."""
        self._shift(by_s, 0, True)
