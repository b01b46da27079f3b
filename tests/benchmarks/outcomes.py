"""Rows and what was predicted for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import MoetuneError
from app.solver.defects import defects_of
from app.solver.plan import Prediction
from app.solver.prediction import placement_class, predict_decode, predict_prefill
from tests.benchmarks.rows import Row, is_drafted

_ODD = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, AssertionError, MoetuneError)
"""What a row that makes no sense may raise; it is counted as skipped, with this as its reason."""


@dataclass(frozen=True)
class Outcome:
    """One row: measured, predicted, or why not."""

    row: Row
    measured: float
    """Tokens per second; 0 where there is none."""
    predicted: float
    low: float
    high: float
    kind: str
    """The row of the range table."""
    defects: tuple[str, ...] = ()
    """Ids of known defects that the row runs into."""
    why_not: str = ""

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted / self.measured - 1

    @property
    def covered(self) -> bool:
        """Whether the measurement is in the stated range."""
        return self.low <= self.measured <= self.high

    @property
    def memory_known(self) -> bool:
        """Whether the bandwidth of every device in use is known."""
        row = self.row
        if row.scene is None or row.placement is None:
            return False
        return all(row.scene.machine.device(name).bandwidth_gbps for name in row.placement.devices)

    @property
    def clean(self) -> bool:
        """No known defect, and a machine that is described."""
        return not self.defects and self.memory_known


def decode_outcomes(rows: Iterable[Row]) -> list[Outcome]:
    """Of every row with a decode speed."""
    return [_outcome(row, row.decode_tps, decode=True) for row in rows if row.decode_tps]


def prefill_outcomes(rows: Iterable[Row]) -> list[Outcome]:
    """Of every row with a prefill speed."""
    return [_outcome(row, row.prefill_tps, decode=False) for row in rows if row.prefill_tps]


def _outcome(row: Row, measured: float | None, *, decode: bool) -> Outcome:
    why = row.why_not
    if decode and is_drafted(row.cells):
        why = why or "tokens were drafted"
    if not decode and not row.cells.get("prompt_tokens") and not row.cells.get("context_depth"):
        why = why or "neither the prompt's length nor its depth is stated"
    if not why:
        try:
            return _predicted(row, measured or 0.0, decode=decode)
        except _ODD as error:
            why = f"the prediction failed ({type(error).__name__}: {error})"
    return Outcome(row, measured or 0.0, 0.0, 0.0, 0.0, "", why_not=why)


def _predicted(row: Row, measured: float, *, decode: bool) -> Outcome:
    assert row.scene is not None
    assert row.placement is not None
    assert row.parameters is not None
    question = (row.scene, row.placement, row.parameters)
    found: Prediction
    if decode:
        found = predict_decode(*question, context=row.context, batch=row.batch)
    else:
        found = predict_prefill(*question, prompt_tokens=row.prompt_tokens, depth=row.prefill_depth)
    defects = tuple(defect.id for defect in defects_of(*question))
    kind = placement_class(row.scene, row.placement)
    return Outcome(row, measured, found.tokens_per_s, found.low, found.high, kind, defects)
