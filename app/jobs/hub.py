"""The hub's side of a download: what a repository holds, and the bytes of a file from where they broke off.

The optional package huggingface_hub speaks to it: addresses, tokens, retries. Imported only when something is asked.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.errors import ModelError
from app.jobs.scenarios import Scenario
from app.units import bytes_text


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository, as the hub describes it."""

    name: str
    size: int
    sha256: str | None
    """Of a large file; `None`: it lies in Git itself."""
    git_sha1: str | None
    """Of a small one."""

    @property
    def key(self) -> str:
        """Names its content."""
        return self.sha256 or self.git_sha1 or hashlib.sha256(f"{self.name} {self.size}".encode()).hexdigest()


def listing(scenario: Scenario) -> tuple[str, dict[str, RemoteFile]]:
    """The revision's own hash, and every file in it by its name.

    Raises:
        ModelError: the hub does not answer, or has no such repository or revision.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    weights = scenario.weights
    try:
        info = HfApi(endpoint=_endpoint()).model_info(
            weights.repository, revision=weights.revision, files_metadata=True, timeout=30
        )
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise _no_answer(weights.repository, error) from error
    found = {}
    for one in info.siblings or ():
        sha256 = one.lfs.sha256 if one.lfs else None
        found[one.rfilename] = RemoteFile(one.rfilename, one.size or 0, sha256, None if sha256 else one.blob_id)
    return info.sha or weights.revision, found


def get(
    scenario: Scenario,
    revision: str,
    file: RemoteFile,
    stream: BinaryIO,
    have: int,
    tell: Callable[[int], None],
) -> None:
    """Append what is missing of a file to `stream`.

    Args:
        scenario: whose repository.
        revision: the hash of the revision.
        file: which.
        stream: at its end, after the bytes that are there.
        have: how many those are.
        tell: told how many bytes are there.

    Raises:
        ModelError: it broke off; what came is in `stream`.
    """
    import httpx
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(scenario.weights.repository, file.name, revision=revision, endpoint=_endpoint())
    try:
        http_get(
            url,
            stream,
            resume_size=have,
            headers=build_hf_headers(library_name="moetune"),
            expected_size=file.size,
            displayed_filename=file.name,
            tqdm_class=_bar(have, tell),
        )
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        stream.flush()
        at = os.fstat(stream.fileno()).st_size
        raise ModelError(
            f"The download of {file.name} broke off after {bytes_text(at)} of {bytes_text(file.size)}: {_why(error)}.",
            hint="What is there is kept; the same command goes on from there.",
        ) from error


def _bar(have: int, tell: Callable[[int], None]) -> Any:  # noqa: ANN401
    """What huggingface_hub takes for a progress bar: it tells, and draws nothing."""

    class Bar(AbstractContextManager["Bar"]):
        def __init__(self, **_: object) -> None:
            self.done = have

        def update(self, count: int) -> None:
            self.done += count
            tell(self.done)

        def __exit__(self, *_: object) -> None:
            return None

    return Bar


def _endpoint() -> str | None:
    """Another hub than the public one, as huggingface_hub reads it at import: a mirror, or a test's."""
    return os.environ.get("HF_ENDPOINT") or None


def _no_answer(repository: str, error: Exception) -> ModelError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return ModelError(
            f"{repository} is given only to those who accept its terms.",
            hint="Accept them on its page, and set HF_TOKEN to a token of yours.",
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelError(f"{repository} does not have that revision any more.", hint="Download it by hand.")
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(
            f"There is no repository {repository}, or it is not public.", hint="Set HF_TOKEN if it is yours."
        )
    return ModelError(
        f"The hub does not answer: {_why(error)}.", hint="Is the network there? HF_ENDPOINT names another hub."
    )


def _why(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0].rstrip(".") if lines else "") or type(error).__name__
