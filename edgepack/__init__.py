"""One recipe from checkpoint to proven artifact.

>>> import edgepack
>>> report = edgepack.build("builtin:digits", targets=["arm64"])  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("edgepack")

_LAZY = {
    "build": "edgepack.api:build",
    "verify": "edgepack.api.use:verify",
    "load": "edgepack.api.use:load",
    "Report": "edgepack.report:Report",
}
__all__ = ["Report", "__version__", "build", "load", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'edgepack' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    return getattr(import_module(module), attribute)
