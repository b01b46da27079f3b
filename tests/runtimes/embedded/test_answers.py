"""What the engine answers, over real HTTP."""

from __future__ import annotations

from itertools import pairwise
from threading import Thread
from typing import Any

import pytest

from .conftest import CONTEXT
from .engine_process import EngineProcess, Stream

GREEDY = {"temperature": 0, "ignore_eos": True}


def test_completion_has_content_and_timings(engine: EngineProcess) -> None:
    answer = engine.post("/completion", prompt="hello there", n_predict=9, **GREEDY)
    assert answer["content"]
    assert answer["stop"] is True
    assert answer["stop_type"] == "limit"
    assert answer["model"] == "tiny"
    assert answer["tokens_predicted"] == 9
    timings = answer["timings"]
    assert timings["predicted_n"] == 9
    assert timings["cache_n"] + timings["prompt_n"] == answer["tokens_evaluated"]


def test_rate_counts_the_steps_after_the_first_token(engine: EngineProcess) -> None:
    timings = engine.post("/completion", prompt="hello", n_predict=9, **GREEDY)["timings"]
    assert timings["predicted_per_second"] == pytest.approx(8 / timings["predicted_ms"] * 1000)
    assert timings["predicted_per_token_ms"] == pytest.approx(timings["predicted_ms"] / 8)
    assert timings["prompt_per_second"] == pytest.approx(timings["prompt_n"] / timings["prompt_ms"] * 1000)


def test_stream_adds_up_to_the_whole(engine: EngineProcess) -> None:
    whole = engine.post("/completion", prompt="abc", n_predict=40, **GREEDY)
    chunks = list(Stream(engine, "/completion", prompt="abc", n_predict=40, **GREEDY))
    assert "".join(chunk["content"] for chunk in chunks) == whole["content"]
    assert [chunk["stop"] for chunk in chunks[:-1]] == [False] * (len(chunks) - 1)
    assert chunks[-1]["stop"] is True
    assert chunks[-1]["timings"]["predicted_n"] == 40
    assert "timings" not in chunks[0]


def test_timings_per_token_count_up(engine: EngineProcess) -> None:
    stream = Stream(engine, "/completion", prompt="abc", n_predict=12, timings_per_token=True, **GREEDY)
    counts = [chunk["timings"]["predicted_n"] for chunk in stream]
    assert counts[-1] == 12
    assert all(before <= after for before, after in pairwise(counts))


def test_chat_stream_is_openais(engine: EngineProcess) -> None:
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    options = {"messages": messages, "max_tokens": 6, "stream_options": {"include_usage": True}} | GREEDY
    *chunks, done = Stream(engine, "/v1/chat/completions", **options)
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 6
    assert chunks[-1]["timings"]["predicted_n"] == 6


def test_chat_whole_is_openais(engine: EngineProcess) -> None:
    answer = engine.post("/v1/chat/completions", messages=[{"role": "user", "content": "hi"}], max_tokens=4, **GREEDY)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 4


def test_text_completion_is_openais(engine: EngineProcess) -> None:
    whole = engine.post("/v1/completions", prompt="abc", max_tokens=20, **GREEDY)
    *chunks, done = Stream(engine, "/v1/completions", prompt="abc", max_tokens=20, **GREEDY)
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["choices"][0]["text"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 20


def test_same_seed_same_text(engine: EngineProcess) -> None:
    def text(seed: int) -> str:
        answer = engine.post("/completion", prompt="abc", n_predict=40, seed=seed, temperature=2.0, ignore_eos=True)
        return str(answer["content"])

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_stop_word_ends_and_is_left_out(engine: EngineProcess) -> None:
    text = engine.post("/completion", prompt="abc", n_predict=40, **GREEDY)["content"]
    word = text[10:14]
    answer = engine.post("/completion", prompt="abc", n_predict=40, stop=[word], **GREEDY)
    assert answer["content"] == text[: text.index(word)]
    assert (answer["stop_type"], answer["stopping_word"]) == ("word", word)


def test_prompt_may_be_tokens(engine: EngineProcess) -> None:
    assert engine.post("/completion", prompt=[300, 301, 302], n_predict=2, **GREEDY)["tokens_evaluated"] == 3


def test_no_tokens_asked_none_made(engine: EngineProcess) -> None:
    answer = engine.post("/completion", prompt="abc", n_predict=0)
    assert (answer["content"], answer["timings"]["predicted_n"]) == ("", 0)
    assert answer["timings"]["prompt_ms"] > 0


def test_common_prefix_is_not_computed_again(engine: EngineProcess) -> None:
    prompt = list(range(300, 400))
    engine.post("/completion", prompt=prompt, n_predict=1, cache_prompt=False)
    again = engine.post("/completion", prompt=[*prompt, 301, 302], n_predict=1)["timings"]
    assert (again["cache_n"], again["prompt_n"]) == (100, 2)
    fresh = engine.post("/completion", prompt=prompt, n_predict=1, cache_prompt=False)["timings"]
    assert (fresh["cache_n"], fresh["prompt_n"]) == (0, 100)


@pytest.mark.parametrize("shared", [90, 1000])
def test_reused_prefix_changes_no_text(engine: EngineProcess, shared: int) -> None:
    """At 1000 the sliding window has dropped what a shorter prefix needs, unless the engine starts over."""
    base = [300 + i % 200 for i in range(1200)]
    wanted = [*base[:shared], 310, 320]
    options: dict[str, object] = {"n_predict": 16, **GREEDY}
    fresh = engine.post("/completion", prompt=wanted, cache_prompt=False, **options)
    engine.post("/completion", prompt=base, **options)
    reused = engine.post("/completion", prompt=wanted, **options)
    assert reused["content"] == fresh["content"]


def test_requests_at_once_are_all_answered(engine: EngineProcess) -> None:
    answers: list[Any] = []

    def ask(length: int) -> None:
        answers.append(engine.post("/completion", prompt="abc", n_predict=length, **GREEDY))

    threads = [Thread(target=ask, args=(length,)) for length in (5, 6, 7, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer["tokens_predicted"] for answer in answers) == [5, 6, 7, 8]


def test_status_pages_look_like_llama_servers(engine: EngineProcess) -> None:
    engine.post("/completion", prompt="abc", n_predict=3, **GREEDY)
    assert engine.get("/health") == {"status": "ok"}
    properties = engine.get("/props")
    assert properties["total_slots"] == 1
    assert properties["default_generation_settings"]["n_ctx"] == CONTEXT
    assert engine.get("/v1/models")["data"][0]["id"] == "tiny"
    slot = engine.slot()
    assert (slot["id"], slot["n_ctx"], slot["is_processing"]) == (0, CONTEXT, False)
    assert slot["next_token"][0]["n_decoded"] == 3


def test_metrics_add_up(engine: EngineProcess) -> None:
    before = engine.metric("tokens_predicted_total")
    engine.post("/completion", prompt="abc", n_predict=11, **GREEDY)
    assert engine.metric("tokens_predicted_total") == before + 11
    assert engine.metric("predicted_tokens_seconds") == 0, "an average since the last scrape, which was just now"
