"""The Model value: a torch module, what it takes and gives, and the cuts that made it."""

from __future__ import annotations

from edgepack.model.value import Model

__all__ = ["Model"]
