"""Start-up: times and modules of the commands that must be quick, and of the UI's first paint.

    python tests/benchmarks/startup.py [--runs N]

Times are the median (and range) of whole processes after one warm-up; modules are counted in the process itself. The
first paint is seen in a real pseudo-terminal: the time until the tab line of the first screen is written.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import signal
import statistics
import subprocess
import sys
import time

MODULES = """
import contextlib, io, sys
with contextlib.redirect_stdout(io.StringIO()):
    from app.cli import main
    main({words!r})
print(len(sys.modules))
"""

COMMANDS = (
    ("--version", ["--version"], 60),
    ("check --json", ["check", "--json"], 250),
    ("check --json --no-engines", ["check", "--json", "--no-engines"], 250),
)


def timed(words: list[str], runs: int) -> list[float]:
    """Milliseconds of each run of a whole process."""
    found = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "app", *words], stdout=subprocess.DEVNULL, check=False)
        found.append(1000 * (time.perf_counter() - start))
    return found[1:]


def modules(words: list[str]) -> int:
    """Modules imported by one command."""
    code = MODULES.format(words=words)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def first_paint(marker: bytes = b"Machine", timeout_s: float = 20.0) -> float:
    """Milliseconds from exec until `marker` appears in a 120x40 terminal."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
        os.execv(sys.executable, [sys.executable, "-m", "app"])
    seen = b""
    try:
        while marker not in seen:
            if time.perf_counter() - start > timeout_s:
                raise TimeoutError("the first screen was not painted")
            if select.select([terminal], [], [], 0.5)[0]:
                seen += os.read(terminal, 65536)
        return 1000 * (time.perf_counter() - start)
    finally:
        os.kill(pid, signal.SIGTERM)
        while select.select([terminal], [], [], 2.0)[0]:
            try:
                if not os.read(terminal, 65536):
                    break
            except OSError:
                break
        os.waitpid(pid, 0)
        os.close(terminal)


def main() -> None:
    """Print one line per figure, and all of it as JSON on the last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    report: dict[str, dict[str, float]] = {}
    for name, words, budget in COMMANDS:
        times = timed(words, runs)
        report[name] = {"median_ms": statistics.median(times), "min_ms": min(times), "max_ms": max(times),
                        "budget_ms": budget, "modules": modules(words)}  # fmt: skip
    paints = [first_paint() for _ in range(max(3, runs // 3))]
    report["first UI paint"] = {"median_ms": statistics.median(paints), "min_ms": min(paints), "max_ms": max(paints),
                                "budget_ms": 400}  # fmt: skip
    for name, row in report.items():
        count = f"  {row['modules']:4.0f} modules" if "modules" in row else ""
        print(f"{name:<28} {row['median_ms']:6.0f} ms ({row['min_ms']:.0f} to {row['max_ms']:.0f})"
              f"  budget {row['budget_ms']:.0f}{count}")  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main()
