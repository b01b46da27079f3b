"""What is right and wrong with a machine, and the way to mend it. Pure: facts in, findings out."""

from app.readiness.engines import EngineView, judge_engines
from app.readiness.finding import SEVERITIES, Finding, Fix, Severity
from app.readiness.judgement import judge
from app.readiness.script import fix_script

__all__ = ["SEVERITIES", "EngineView", "Finding", "Fix", "Severity", "fix_script", "judge", "judge_engines"]
