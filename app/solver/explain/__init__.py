"""A plan in words. What asks the solver again (`bottleneck`) is imported from its own module: this one is its basis."""

from app.solver.explain.placements import notes, placement_text
from app.solver.explain.terms import speed_text, terms_of, worst_basis

__all__ = ["notes", "placement_text", "speed_text", "terms_of", "worst_basis"]
