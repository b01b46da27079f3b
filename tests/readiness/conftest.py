from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.facts import Machine
from detectors.host import Host
from detectors.registry import detect

MachineOf = Callable[[str], Machine]

_HOSTS = Path(__file__).parents[1] / "fixtures" / "hosts"


@pytest.fixture
def machine_of() -> MachineOf:
    """The machine that the detectors see in a recorded host."""
    return lambda name: detect(Host(_HOSTS / name), timeout_s=30)
