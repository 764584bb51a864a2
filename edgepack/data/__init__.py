"""Data as numpy: what calibrates, trains and evaluates a model, and the metrics that score it."""

from edgepack.data.checks import check_splits
from edgepack.data.generate import generate
from edgepack.data.metrics import Metric, resolve
from edgepack.data.reference import open_data
from edgepack.data.sentences import Sentences

__all__ = ["Metric", "Sentences", "check_splits", "generate", "open_data", "resolve"]
