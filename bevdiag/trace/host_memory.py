"""How much memory this machine can still give to a real run, a limit at that, and its reuse.

A container's limit counts as the machine's. What lies in the page cache can be had.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
"""Versions 2 and 1: the folder, its limit, its use, and what of that is cache, in memory.stat."""

_REUSE = {-1: 1 << 30, -2: 1 << 26, -3: 1 << 30}
"""M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of mallopt(3), in bytes."""


def available_bytes() -> int | None:
    """Return what can be allocated without swapping; None where the system does not say."""
    found = [*_of_machine(), *_of_container()]
    return max(min(found), 0) if found else None


def _of_machine() -> Iterator[int]:
    with suppress(OSError, StopIteration, ValueError):
        lines = _MEMINFO.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        yield int(line.split()[1]) * 1024
        return
    with suppress(OSError, ValueError):
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_container() -> Iterator[int]:
    for folder, limit, used, cached in _CGROUPS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            statistics = dict(
                line.split() for line in (folder / "memory.stat").read_text().splitlines()
            )
            taken = int((folder / used).read_text()) - int(statistics.get(cached, 0))
            yield int((folder / limit).read_text()) - taken


def limit_to_available() -> None:
    """From here on, an allocation of this process fails beyond what the machine has left.

    What the process holds already, freed blocks that the C library keeps among it, stays usable.
    """
    free = available_bytes()
    if free is None or sys.platform != "linux":
        return
    import resource

    status = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = [limit for limit in (own + free, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(wanted), hard))


def keep_freed_memory() -> None:
    """From here on, this process uses again what it frees, instead of giving it back.

    Arrays of megabytes come and go by the hundred while values are sampled. glibc would map each
    anew, and the kernel clear every page of it: a third of what the sampling takes. Forks inherit
    it; where the C library has no such options, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _REUSE.items():
            mallopt(option, value)
