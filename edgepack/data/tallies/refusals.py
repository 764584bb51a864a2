"""What a metric says when it cannot score: each names the sample and the mend."""

from __future__ import annotations

from edgepack.errors import MeasurementError


def label(metric: str, what: str, where: str, why: str = "") -> MeasurementError:
    """A label that the metric cannot hold an answer against."""
    return MeasurementError(
        "E505", f"{metric}: {what}", where=where, why=why, fix="give every sample a fitting label"
    )


def not_scored(metric: str, why: str) -> MeasurementError:
    """Outputs of a shape or kind that the metric has no meaning for."""
    return MeasurementError(
        "E506",
        f"{metric} cannot score this model",
        why=why,
        fix='write a function in data.py and name it as `metric = "data.py:metric"`',
    )


def undefined(metric: str, why: str, fix: str) -> MeasurementError:
    """Answers and labels that fit, and of which the metric still makes no number."""
    return MeasurementError("E507", f"{metric} is not defined: {why}", fix=fix)


def nothing(metric: str) -> MeasurementError:
    """No samples at all."""
    return MeasurementError(
        "E509", f"{metric} over no samples", fix="give evaluation data with at least one sample"
    )


def not_finite(metric: str, where: str) -> MeasurementError:
    """An answer that is NaN or infinite where the metric needs its size."""
    return MeasurementError(
        "E510",
        f"{metric}: the model answers NaN or infinity",
        where=where,
        fix="check the model on this sample; a type of fewer bits may overflow",
    )
