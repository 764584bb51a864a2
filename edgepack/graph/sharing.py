"""One initializer for all that hold the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def share_equal(graph: ir.Graph) -> int:
    """Let initializers of the same type, shape and bytes be one; return how many went."""
    first: dict[tuple[object, ...], ir.Value] = {}
    count = 0
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if value.is_graph_output() or value.is_graph_input() or tensor.dtype.name == "STRING":
            continue
        digest = hashlib.sha256(tensor.tobytes()).digest()
        kept = first.setdefault((tensor.dtype, tuple(tensor.shape), digest), value)
        if kept is not value:
            value.replace_all_uses_with(kept)
            del graph.initializers[value.name]
            count += 1
    return count
