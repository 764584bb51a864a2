"""Runs a user's factory, and makes a model of what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from edgepack.errors import ModelError
from edgepack.model import Model
from edgepack.types import TensorSpec
from edgepack.usercode import UserFile

if TYPE_CHECKING:
    from edgepack.source.factory import FactorySource


def build(source: FactorySource, seed: int) -> Model:
    """Call the factory from a seed and wrap what it returns.

    Raises:
        ModelError: E446 when the code raises or gives no module, E448 when there are no usable
            example inputs, E433 when the model does not run on them.
    """

    def raised(kind: str, where: str, why: str) -> ModelError:
        return ModelError(
            "E446",
            f"`{source.reference}` raised {kind}",
            where=where,
            why=why,
            fix="run the function on its own and mend it",
        )

    code = UserFile(source.file, source.reference, raised)
    with code.running(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        given = code.load(source.function)()
        module, example = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        if not isinstance(module, torch.nn.Module):
            raise ModelError(
                "E446",
                f"`{source.reference}` gives no torch module but {type(module).__name__}",
                where=source.reference,
                fix="return the module, or `(module, example_inputs)`",
            )
        example = getattr(module, "example_inputs", None) if example is None else example
        named = _named(module, example, source.reference)
        inputs = tuple(
            TensorSpec(
                name=name,
                dtype=str(tensor.dtype).removeprefix("torch."),
                shape=("batch", *tensor.shape[1:]),
            )
            for name, tensor in named.items()
        )
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}
        return Model.of(module.cpu(), inputs, arrays)


def require_same(first: Model, second: Model, reference: str) -> None:
    """Refuse a factory whose models differ in names or shapes.

    Raises:
        ModelError: E447 naming the first difference.
    """
    one, other = _shapes(first), _shapes(second)
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name):
            raise ModelError(
                "E447",
                f"`{reference}` gives another model each time",
                where=reference,
                why=f"`{name}` is {one.get(name, 'absent')}, then {other.get(name, 'absent')}",
                fix="let names and shapes depend on nothing random",
            )


def _shapes(model: Model) -> dict[str, str]:
    state = {name: str(list(t.shape)) for name, t in model.module.state_dict().items()}
    return state | {spec.name: str(spec) for spec in (*model.inputs, *model.outputs)}


def _named(module: torch.nn.Module, example: Any, reference: str) -> dict[str, torch.Tensor]:
    """Name example inputs after the arguments of `forward`, in their order."""
    arguments = [
        name
        for name, p in inspect.signature(module.forward).parameters.items()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if isinstance(example, Mapping):
        if set(example) != set(arguments[: len(example)]):
            raise _no_example(
                reference, f"they name {list(example)}, and `forward` takes {arguments}"
            )
        named = {name: example[name] for name in arguments[: len(example)]}
    else:
        values = list(example) if isinstance(example, tuple | list) else [example]
        arguments = arguments or [f"input_{place}" for place in range(len(values))]
        if len(values) > len(arguments):
            raise _no_example(
                reference, f"there are {len(values)}, and `forward` takes {arguments}"
            )
        named = dict(zip(arguments, values, strict=False))
    if not named or not all(torch.is_tensor(t) and t.dim() > 0 for t in named.values()):
        kinds = ", ".join(type(value).__name__ for value in named.values())
        raise _no_example(reference, f"they are {kinds}" if example is not None else "")
    return named


def _no_example(reference: str, why: str) -> ModelError:
    return ModelError(
        "E448",
        f"`{reference}` gives no usable example inputs",
        where=reference,
        why=why,
        fix="return `(module, (torch.zeros(1, 3, 32, 32),))`: tensors, batch first, as `forward` "
        "takes them",
    )
