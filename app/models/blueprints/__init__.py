"""The tensors of every architecture that moetune describes."""

from __future__ import annotations

from app.models.blueprints.grouped import GROUPED
from app.models.blueprints.latent import LATENT
from app.models.blueprints.recurrent import RECURRENT
from app.models.blueprints.rows import Blueprint, Row, Rows
from app.models.blueprints.windowed import WINDOWED

__all__ = ["ARCHITECTURES", "Blueprint", "Row", "Rows"]

ARCHITECTURES: dict[str, Blueprint] = dict(sorted((GROUPED | LATENT | RECURRENT | WINDOWED).items()))
"""By `general.architecture`."""
