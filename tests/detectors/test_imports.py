from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from detectors.host import Host
from detectors.registry import detect
detect(Host(sys.argv[1]))
print(*sorted(sys.modules))
"""


def test_detecting_a_machine_without_gpus_imports_little() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "tests/fixtures/hosts/debian12-epycvm-none"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = set(done.stdout.split())
    heavy = {"pynvml", "psutil", "subprocess", "asyncio", "concurrent.futures", "json", "ctypes", "textual"}
    assert "detectors.gpu_amd" in loaded
    assert loaded & heavy == set()
