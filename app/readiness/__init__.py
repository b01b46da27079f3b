"""What is right and wrong with a machine. Pure: facts in, findings out."""

from app.readiness.finding import Finding, Fix, Severity
from app.readiness.judgement import judge

__all__ = ["Finding", "Fix", "Severity", "judge"]
