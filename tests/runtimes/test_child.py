"""No child outlives the call that started it, whenever the signal comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from app.runtimes.child import ChildOfOurs

CALLS = {
    "ask": "from app.runtimes.llama_probe import ask; ask(argv, 60)",
    "run_step": "import io; from app.runtimes.build_child import run_step; "
    "run_step(argv, log=io.StringIO(), on_line=print)",
    "lines_of": "from app.runtimes.bench import lines_of; list(lines_of(argv, limit_s=60))",
}
"""Everything that starts a program and waits for it."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", CALLS)
def test_a_signal_while_a_child_starts_ends_the_child(name: str, number: signal.Signals) -> None:
    """The signal is sent by Popen itself, as its last step: where it would slip through."""
    code = f"""
        import os, signal, subprocess
        from app.cli.signals import end_on_signals
        end_on_signals()
        argv = ["sleep", "60.{os.getpid()}"]

        class Signalled(subprocess.Popen):
            def __init__(self, *words, **options):
                super().__init__(*words, **options)
                print(self.pid, flush=True)
                os.kill(os.getpid(), {int(number)})

        subprocess.Popen = Signalled
        try:
            {CALLS[name]}
        except KeyboardInterrupt:
            print("interrupted")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30, check=True
    )
    pid, said = done.stdout.split()
    assert said == "interrupted"
    assert not psutil.pid_exists(int(pid))


def test_a_grandchild_goes_with_the_block(tmp_path: Path) -> None:
    argv = ("sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait")
    with ChildOfOurs(argv, grace_s=0) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        assert psutil.pid_exists(grandchild)
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
