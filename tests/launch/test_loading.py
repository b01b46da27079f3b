"""How far a process has read a file, by the kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.launch.loading import bytes_read
from app.units import MIB

READS = "open(p, 'rb').read(n)"
MAPS = "import mmap; f = open(p, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); sum(m[i] for i in range(0, n, 4096))"


@pytest.mark.parametrize("way", [READS, MAPS], ids=["read", "mapped"])
def test_what_was_read_is_counted(way: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(64 * MIB))
    seen = []
    for size in (8 * MIB, 48 * MIB):
        code = f"import sys; p = {str(path)!r}; n = {size}; {way}; print(flush=True); sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=-1, stdout=-1) as child:
            assert child.stdout is not None
            child.stdout.readline()
            seen.append(bytes_read(child.pid) or 0)
    assert 8 * MIB <= seen[0] < 48 * MIB
    assert seen[1] - seen[0] == pytest.approx(40 * MIB, rel=0.1)


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    assert bytes_read(child.pid) is None
