"""Real weights: the text makes sense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import CPU_ONLY
from .engine_process import EngineProcess


@pytest.fixture(scope="module")
def engine(gemma: Path) -> Iterator[EngineProcess]:
    running = EngineProcess("-m", str(gemma), *CPU_ONLY, "-c", "2048").ready()
    yield running
    running.kill()


def test_text_makes_sense(engine: EngineProcess) -> None:
    answer = engine.post("/completion", prompt="The capital city of France is called", n_predict=8, temperature=0)
    assert "Paris" in answer["content"]


def test_story_has_words_and_ends_at_a_stop_word(engine: EngineProcess) -> None:
    answer = engine.post("/v1/completions", prompt="One, two, three, four,", max_tokens=24, temperature=0, stop=["ten"])
    assert " five, six, seven, eight, nine, " in answer["choices"][0]["text"]
    assert answer["choices"][0]["finish_reason"] == "stop"
