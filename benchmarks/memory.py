"""The largest memory that this process has held."""

import resource
from pathlib import Path


def peak_bytes() -> int:
    """The peak of this process alone. [bytes]

    On Linux from /proc, for getrusage hands a parent's peak on to the processes that it starts.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
