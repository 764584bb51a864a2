"""A torch model as edgepack hands it from pass to pass."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edgepack.types import Edit, Grid, TensorSpec, canonical_json

if TYPE_CHECKING:
    import torch

    from edgepack.types import Array, Tensors


@dataclass(frozen=True, eq=False)
class Model:
    """A torch module in evaluation mode, with its structural edits as replayable data.

    Attributes:
        module: called with tensors in the order of `inputs`; returns a tensor or a tuple in the
            order of `outputs`. Whoever holds a Model may read it, and edits a `copy`.
        inputs: what it takes; dynamic axes bear names.
        outputs: what it gives.
        example: inputs by name on which it runs, as small as they may be.
        edits: what was changed in the structure of the module that the source gave, in order.
        grids: the levels that parameters were trained on, by name; their values lie on them.
    """

    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    example: Tensors
    edits: tuple[Edit, ...] = ()
    grids: Mapping[str, Grid] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        module: torch.nn.Module,
        inputs: tuple[TensorSpec, ...],
        example: Tensors,
        outputs: tuple[str, ...] | None = None,
    ) -> Self:
        """Wrap a module; its outputs are measured by running it.

        Args:
            module: the module.
            inputs: what it takes.
            example: inputs by name on which it runs.
            outputs: their names; ``output``, or ``output_0`` and so on, for None.

        Raises:
            ModelError: E433 when it does not run, or gives something that is no tensor.
        """
        from edgepack.model.run import measure_outputs

        module.eval()
        return cls(module, inputs, measure_outputs(module, inputs, example, outputs), example)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Feed named arrays and return the outputs by name; no gradients, no dropout."""
        from edgepack.model.run import answers

        ordered = [inputs[spec.name] for spec in self.inputs]
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, answers(self.module, ordered), strict=True))

    def dynamic_axes(self) -> dict[str, int]:
        """Return the example's size of each dynamic axis."""
        from edgepack.model.run import dynamic_axes

        return dynamic_axes(self.inputs, self.example)

    def sized(self, sizes: Mapping[str, int], seed: int = 0) -> Tensors:
        """Return inputs of other sizes: the example repeated along its dynamic axes.

        Args:
            sizes: dynamic axes by name; those left out keep the example's size.
            seed: seeds the standard normal numbers that floats become; other types keep theirs.
        """
        from edgepack.model.run import resize

        return resize(self.inputs, self.example, sizes, seed)

    def copy(self) -> Self:
        """Return a model that may be edited freely."""
        return replace(self, module=copy.deepcopy(self.module))

    @property
    def rounds(self) -> bool:
        """Whether what flows between its layers has 256 levels."""
        return any(edit.kind == "fake" for edit in self.edits)

    @property
    def digest(self) -> str:
        """SHA-256 over specs, edits, grids, and every parameter and buffer by name."""
        import torch

        specs = [s.model_dump() for s in (*self.inputs, *self.outputs, *self.edits)]
        state = hashlib.sha256(canonical_json(specs))
        for name, grid in sorted(self.grids.items()):
            state.update(canonical_json([name, grid.model_dump()]))
        for name, tensor in sorted(self.module.state_dict().items()):
            state.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]))
            state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return state.hexdigest()

    def facts(self) -> dict[str, Any]:
        """Return parameters, their bytes as float32, and multiply-adds on the example."""
        from edgepack.model.run import multiply_adds

        parameters = sum(p.numel() for p in self.module.parameters())
        ordered = [self.example[spec.name] for spec in self.inputs]
        return {
            "parameters": parameters,
            "bytes": 4 * parameters,
            "multiply_adds": multiply_adds(self.module, ordered),
        }

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``weights.safetensors`` into a folder."""
        from edgepack.model.saved import save

        save(self, folder)

    @classmethod
    def load(cls, folder: Path, fresh: Callable[[str], Model]) -> Model:
        """Read what `save` wrote: replay the edits on a fresh model and fill in the weights.

        Args:
            folder: where `save` wrote.
            fresh: gives a model as its source does, with any weights; asked with the reference of a
                student, or with nothing for the model that came in.

        Raises:
            ModelError: E430 when the fresh model has other names or shapes than the saved one.
        """
        from edgepack.model.saved import load

        return load(folder, fresh)
