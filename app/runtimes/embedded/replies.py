"""The JSON of answers: llama-server's own dialect and OpenAI's, whole and streamed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from app.runtimes.embedded.generation import Done, Piece, Task
from app.runtimes.embedded.requests import Request

Json = dict[str, object]


class Reply:
    """Writes the answer to one request.

    Args:
        request: what was asked.
        model: the model's alias.
    """

    def __init__(self, request: Request, model: str) -> None:
        self._request = request
        self._task = request.task
        self._model = model
        prefix = "chatcmpl-" if request.dialect == "chat" else "cmpl-"
        self._id = prefix + secrets.token_urlsafe(24)
        self._is_first = True

    def chunks(self, piece: Piece) -> Iterator[Json]:
        """The streamed objects for one token; none while its text is incomplete."""
        if self._request.dialect == "chat" and self._is_first:
            yield self._chat_chunk({"role": "assistant", "content": None}, None)
        self._is_first = False
        if piece.text is None:
            return
        if self._request.dialect == "completion":
            chunk = self._own(piece.text, [piece.token], stop=False)
        elif self._request.dialect == "chat":
            chunk = self._chat_chunk({"content": piece.text}, None)
        else:
            chunk = self._text_chunk(piece.text, None)
        if piece.timings is not None:
            chunk["timings"] = piece.timings
        yield chunk

    def last_chunks(self, done: Done) -> Iterator[Json]:
        """The streamed objects that end the answer; the very last one has the timings."""
        if self._request.dialect == "completion":
            yield self._own(done.text, [], stop=True) | self._own_end(done)
            return
        reason = _finish_reason(done)
        if self._request.dialect == "chat":
            if done.text:
                yield self._chat_chunk({"content": done.text}, None)
            last = self._chat_chunk({}, reason)
            if self._request.include_usage:
                yield last
                last = self._chat_chunk({}, None) | {"choices": [], "usage": self._usage(done)}
        else:
            last = self._text_chunk(done.text, reason) | {"usage": self._usage(done)}
        yield last | {"timings": done.timings}

    def whole(self, text: str, done: Done) -> Json:
        """The answer in one object."""
        if self._request.dialect == "completion":
            return self._own(text, [], stop=True) | self._own_end(done)
        reason, end = _finish_reason(done), {"usage": self._usage(done), "timings": done.timings}
        if self._request.dialect == "text_completion":
            return self._text_chunk(text, reason) | end
        message = {"role": "assistant", "content": text}
        choice = {"finish_reason": reason, "index": 0, "message": message}
        return self._envelope("chat.completion") | {"choices": [choice]} | end

    def _own(self, text: str, tokens: list[int], *, stop: bool) -> Json:
        return {
            "index": 0,
            "content": text,
            "tokens": tokens,
            "stop": stop,
            "id_slot": 0,
            "tokens_predicted": self._task.timing.decoded,
            "tokens_evaluated": len(self._task.tokens),
        }

    def _own_end(self, done: Done) -> Json:
        return {
            "model": self._model,
            "generation_settings": generation_settings(self._task) | {"stream": self._request.stream},
            "prompt": self._request.prompt,
            "has_new_line": done.has_new_line,
            "truncated": done.truncated,
            "stop_type": done.stop_type,
            "stopping_word": done.stopping_word,
            "tokens_cached": done.cached_tokens,
            "timings": done.timings,
        }

    def _envelope(self, kind: str) -> Json:
        return {"id": self._id, "object": kind, "created": int(time.time()), "model": self._model}

    def _chat_chunk(self, delta: Json, reason: str | None) -> Json:
        choice = {"finish_reason": reason, "index": 0, "delta": delta}
        return self._envelope("chat.completion.chunk") | {"choices": [choice]}

    def _text_chunk(self, text: str, reason: str | None) -> Json:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
        return self._envelope("text_completion") | {"choices": [choice]}

    def _usage(self, done: Done) -> Json:
        prompt, generated = len(self._task.tokens), int(done.timings["predicted_n"])
        return {
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
            "prompt_tokens_details": {"cached_tokens": done.timings["cache_n"]},
        }


def _finish_reason(done: Done) -> str:
    return "length" if done.stop_type == "limit" else "stop"


def generation_settings(task: Task) -> Json:
    """The parameters of a task, as llama-server names them."""
    sampling = task.sampling
    return {
        "seed": sampling.seed,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "ignore_eos": sampling.ignore_eos,
        "n_predict": task.limit,
        "max_tokens": task.limit,
        "stop": list(task.stops),
        "timings_per_token": task.timings_per_token,
    }


def error(code: int, message: str, kind: str, **facts: object) -> Json:
    """llama-server's error object."""
    return {"error": {"code": code, "message": message, "type": kind} | facts}
