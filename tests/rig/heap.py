"""A heap that fails when the test says so, preloaded into the daemon; and counts of what it gave."""

import mmap
import pathlib
import struct

from rig.preload import library

FIELDS = ("countdown", "calls", "live", "failed")


class FailingHeap:
    """The heap of a program that runs with `environment`."""

    def __init__(self, directory):
        file = pathlib.Path(directory) / "heap"
        file.write_bytes(bytes(8 * len(FIELDS)))
        self.environment = {"LD_PRELOAD": library("failing_heap"), "FAILING_HEAP": str(file)}
        with open(file, "r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), 0)

    def _read(self, name):
        return struct.unpack_from("q", self._map, 8 * FIELDS.index(name))[0]

    def fail(self, number):
        """Have the allocation of that number fail, counted from now; 0: none."""
        struct.pack_into("q", self._map, 0, number)

    @property
    def is_armed(self):
        """Whether the failure has not come yet."""
        return self._read("countdown") > 0

    @property
    def calls(self):
        return self._read("calls")

    @property
    def live(self):
        """How many allocations are there."""
        return self._read("live")

    @property
    def failed(self):
        return self._read("failed")

    def close(self):
        self._map.close()
