import os
import subprocess
import sys
from pathlib import Path

import pytest

from bevdiag.trace import host_memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_what_is_free_is_less_than_the_machine_has() -> None:
    free = host_memory.available_bytes()
    assert free is not None
    assert 0 < free < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(("limit", "expected"), [("3000", 2100), ("max", None)])
def test_a_container_s_limit_counts_less_what_it_holds_beside_its_cache(
    limit: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 100\n")
    names = ("memory.max", "memory.current", "inactive_file")
    monkeypatch.setattr(host_memory, "_CGROUPS", ((tmp_path, *names),))
    free = host_memory.available_bytes()
    assert free is not None
    assert free == expected if expected is not None else free > 3000


@linux
def test_beyond_what_is_free_an_allocation_fails() -> None:
    script = (
        "from bevdiag.trace import host_memory\n"
        "host_memory.available_bytes = lambda: 1 << 26\n"
        "host_memory.limit_to_available()\n"
        "kept = bytearray(1 << 24)\n"
        "try:\n"
        "    bytearray(1 << 27)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr


@linux
def test_what_is_freed_is_used_again_without_new_pages() -> None:
    script = (
        "import resource\n"
        "from bevdiag.trace.host_memory import keep_freed_memory\n"
        "keep_freed_memory()\n"
        "def faults():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "bytearray(1 << 26)\n"
        "before = faults()\n"
        "for _ in range(4):\n"
        "    bytearray(1 << 26)\n"
        "print(faults() - before)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < (1 << 26) // os.sysconf("SC_PAGE_SIZE")
