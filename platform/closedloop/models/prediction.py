"""What a text classifier answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """An answer: the best label, how sure the model is, and the runners-up."""

    label: str
    confidence: float  # calibrated probability of ``label``, in [0, 1]
    top: tuple[tuple[str, float], ...]  # (label, confidence), best first, ``label`` included
