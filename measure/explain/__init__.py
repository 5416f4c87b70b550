"""Why the label of a network is what it is: collected and judged, and put in words."""

from measure.explain.explanation import (
    ExplainedBlock,
    ExplainedRound,
    ExplainedTiming,
    Explanation,
    explain,
)
from measure.explain.text import lines

__all__ = [
    "ExplainedBlock",
    "ExplainedRound",
    "ExplainedTiming",
    "Explanation",
    "explain",
    "lines",
]
