"""A tiny model in the shape of gpt-oss (sliding window, experts), and engines that run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec as find_module
from pathlib import Path

import pytest

from app.models.slices import find_spec, write_slice

from .engine_process import EngineProcess

CONTEXT = 16384
CPU_ONLY = ("-dev", "none", "-ngl", "0", "-t", "2", "-fa", "on", "--port", "0")
Start = Callable[..., EngineProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_module("llama_cpp") is None:
        skip = pytest.mark.skip(reason="llama-cpp-python is not installed: pip install 'moetune[embedded]'")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 MB: 2 layers, 4 experts, 512 tokens, a sliding window of 128."""
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_slice(find_spec("demo"), path, layers=2, experts=4, vocabulary=512)
    return path


@pytest.fixture
def start() -> Iterator[Start]:
    """Start engine processes; none outlives the test."""
    started: list[EngineProcess] = []

    def begin(*arguments: str) -> EngineProcess:
        started.append(EngineProcess(*arguments))
        return started[-1]

    yield begin
    for engine in started:
        engine.kill()


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[EngineProcess]:
    """One engine for the tests of a file, idle at the start of each."""
    running = EngineProcess("-m", str(model), *CPU_ONLY, "-c", str(CONTEXT), "-ub", "64", "--alias", "tiny").ready()
    yield running
    running.kill()
