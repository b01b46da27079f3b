"""Reading the JSON body of a request into a task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.runtimes.embedded.generation import Task
from app.runtimes.embedded.sampling import RANDOM_SEED, Sampling
from app.runtimes.embedded.vocabulary import Vocabulary

Dialect = Literal["completion", "text_completion", "chat"]
"""llama-server's own `/completion`, OpenAI's `/v1/completions` and `/v1/chat/completions`."""

PATHS: dict[str, Dialect] = {
    "/completion": "completion",
    "/completions": "completion",
    "/v1/completions": "text_completion",
    "/v1/chat/completions": "chat",
    "/chat/completions": "chat",
}


_LARGEST = 2**53
"""Beyond it not every whole number is a float; also keeps infinity and NaN out."""


class BadRequestError(Exception):
    """The request cannot be served as it stands.

    Args:
        message: one sentence.
        kind: llama-server's name of the error.
        facts: further fields of the error object.
    """

    def __init__(self, message: str, kind: str = "invalid_request_error", **facts: object) -> None:
        super().__init__(message)
        self.kind = kind
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Request:
    """A task, and how its answer is to look."""

    dialect: Dialect
    task: Task
    prompt: str
    """The prompt as text; empty where it came as tokens."""
    stream: bool
    include_usage: bool


def read(dialect: Dialect, body: bytes, vocabulary: Vocabulary, context_tokens: int) -> Request:
    """Read a request.

    Raises:
        BadRequestError: it is no JSON object, a field is of the wrong type, or the prompt is too long.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadRequestError("the body must be a JSON object")
    prompt, tokens = _chat(fields, vocabulary) if dialect == "chat" else _prompt(fields, vocabulary)
    if not tokens:
        raise BadRequestError("the prompt is empty")
    if len(tokens) >= context_tokens:
        raise BadRequestError(
            f"request ({len(tokens)} tokens) exceeds the available context size ({context_tokens} tokens)",
            "exceed_context_size_error",
            n_prompt_tokens=len(tokens),
            n_ctx=context_tokens,
        )
    options = fields.get("stream_options")
    task = Task(
        tokens=tokens,
        limit=_limit(fields),
        sampling=_sampling(fields),
        stops=_stops(fields),
        cache_prompt=_flag(fields, "cache_prompt", True),
        timings_per_token=_flag(fields, "timings_per_token", False),
    )
    return Request(
        dialect=dialect,
        task=task,
        prompt=prompt,
        stream=_flag(fields, "stream", False),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
    )


def _prompt(fields: Mapping[str, object], vocabulary: Vocabulary) -> tuple[str, list[int]]:
    prompt = fields.get("prompt")
    if isinstance(prompt, str):
        return prompt, _tokens(prompt, vocabulary)
    if isinstance(prompt, list) and all(type(token) is int for token in prompt):
        if any(not 0 <= token < vocabulary.size for token in prompt):
            raise BadRequestError(f"a token of the prompt is not between 0 and {vocabulary.size - 1}")
        return "", prompt
    raise BadRequestError('"prompt" must be a text or a list of token numbers')


def _chat(fields: Mapping[str, object], vocabulary: Vocabulary) -> tuple[str, list[int]]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError('"messages" must be a list of at least one message')
    prompt = vocabulary.chat_prompt([_message(message) for message in messages])
    return prompt, _tokens(prompt, vocabulary)


def _message(message: object) -> tuple[str, str]:
    if not isinstance(message, dict) or not isinstance(role := message.get("role"), str):
        raise BadRequestError('each message must be an object with a "role"')
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise BadRequestError("only text can be part of a message: this engine sees no images or sound")
        content = "\n".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        raise BadRequestError('each message must have a "content" that is a text')
    return role, content


def _tokens(prompt: str, vocabulary: Vocabulary) -> list[int]:
    if not vocabulary.has_text:
        raise BadRequestError("this model has no tokenizer: give the prompt as a list of token numbers")
    return vocabulary.tokens(prompt)


def _limit(fields: Mapping[str, object]) -> int:
    for name in ("n_predict", "max_tokens", "max_completion_tokens"):
        if fields.get(name) is not None:
            return _whole(fields, name, -1)
    return -1


def _sampling(fields: Mapping[str, object]) -> Sampling:
    default = Sampling()
    seed = _whole(fields, "seed", -1)
    return Sampling(
        temperature=_number(fields, "temperature", default.temperature),
        top_k=_whole(fields, "top_k", default.top_k),
        top_p=_number(fields, "top_p", default.top_p),
        min_p=_number(fields, "min_p", default.min_p),
        seed=seed & 0xFFFFFFFF if seed >= 0 else RANDOM_SEED,
        ignore_eos=_flag(fields, "ignore_eos", False),
    )


def _stops(fields: Mapping[str, object]) -> tuple[str, ...]:
    stop = fields.get("stop")
    words = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadRequestError('"stop" must be a text or a list of texts')
    return tuple(word for word in words if word)


def _number(fields: Mapping[str, object], name: str, default: float) -> float:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise BadRequestError(f'"{name}" must be a number')
    return float(value)


def _whole(fields: Mapping[str, object], name: str, default: int) -> int:
    value = _number(fields, name, float(default))
    if not value.is_integer():
        raise BadRequestError(f'"{name}" must be a whole number')
    # top_k and the limits are 32-bit in llama.cpp; the seed is masked by its reader.
    return int(value) if name == "seed" else max(-(2**31), min(int(value), 2**31 - 1))


def _flag(fields: Mapping[str, object], name: str, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRequestError(f'"{name}" must be true or false')
    return value
