"""Which channels of a module hang together, and their removal.

Removing an output channel of one layer takes the same channel from all that its values flow into.
The groups of layers that are bound so are found by tracing, after Fang et al., DepGraph: Towards
Any Structural Pruning (CVPR 2023, arXiv 2301.12900), whose implementation lies behind this file.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch_pruning

from edgepack.errors import ModelError
from edgepack.model.matrices import is_transposed
from edgepack.model.run import tensors_of
from edgepack.model.transposed import Transposed
from edgepack.types import Cut

if TYPE_CHECKING:
    from edgepack.model import Model

_FAITHFUL = {
    "CONV", "BN", "LINEAR", "PRELU", "DEPTHWISE_CONV", "ELEMENTWISE", "CONCAT", "SPLIT", "RESHAPE",
    "OUTPUT", "CUSTOMIZED",
}  # fmt: skip
"""Operations that leave one channel's values alone when another channel is removed."""

_JOINTS = {"CONCAT", "SPLIT"}
_WORDS = {
    "LN": "a layer norm",
    "GN": "a group norm",
    "IN": "an instance norm",
    "EMBED": "an embedding",
    "EXPAND": "attention, or another expansion",
    "MHA": "attention",
    "LSTM": "an LSTM",
    "PARAMETER": "a parameter outside any layer",
}


@dataclass(frozen=True)
class Member:
    """A layer's part in a group.

    Attributes:
        module: the layer's name.
        side: whether its outputs or its inputs belong to the group.
        indices: the places along that side.
        channels: for each place, the channel of the group's first layer that it follows.
    """

    module: str
    side: Literal["out", "in"]
    indices: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Layers whose channels can only be removed together.

    Attributes:
        name: the first layer's name.
        channels: how many output channels that layer has.
        members: all layers that hold weights of these channels, the first included; nothing where
            there is an obstacle.
        obstacle: why no channel may be removed; empty where one may.
    """

    name: str
    channels: int
    members: tuple[Member, ...]
    obstacle: str


class Groups:
    """The groups of a model, found by tracing it on its example once.

    Args:
        model: the model; `cut` edits its module in place.

    Raises:
        ModelError: E431 when it cannot be traced.
    """

    def __init__(self, model: Model) -> None:
        self._module = model.module
        self._names = {module: name for name, module in model.module.named_modules()}
        for parameter in model.module.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        example = tensors_of([model.example[spec.name] for spec in model.inputs])
        taught = {type(m): Transposed() for m in self._names if is_transposed(m)}
        try:
            with _quiet(), torch.enable_grad():
                self._graph = torch_pruning.DependencyGraph().build_dependency(
                    model.module,
                    example,
                    forward_fn=_marked_outputs,
                    customized_pruners=taught,
                    verbose=False,
                )
        except Exception as problem:  # the tracer raises whatever it stumbles over
            raise ModelError(
                "E431",
                "the model's layers cannot be traced",
                why=f"{type(problem).__name__}: {problem}".splitlines()[0],
                fix="leave out `prune`, or write the model's forward in plain torch operations",
            ) from problem

    def __iter__(self) -> Iterator[Group]:
        places = {name: place for place, name in enumerate(self._names.values())}
        return iter(sorted(self._found(), key=lambda group: places[group.name]))

    def _found(self) -> Iterator[Group]:
        seen: set[object] = set()
        for layer in self._graph.module2node:
            if layer in seen or not _is_root(layer):
                continue
            bound, obstacle = self._reach(layer)
            name, channels = self._names[layer], int(self._graph.get_out_channels(layer))
            members: tuple[Member, ...] = ()
            if not obstacle:
                whole = Cut(module=name, side="out", indices=tuple(range(channels)))
                with _quiet():
                    group = self._group(whole)
                obstacle = self._obstacle(group)
                bound |= {dep.target.module for dep, _ in group if self._gives(dep)}
                members = () if obstacle else self._members(group)
            seen |= bound
            yield Group(name=name, channels=channels, members=members, obstacle=obstacle)

    def members(self, cut: Cut) -> tuple[Member, ...]:
        """Return the places that a cut takes away, layer by layer."""
        return self._members(self._group(cut))

    def cut(self, cut: Cut) -> None:
        """Remove channels from the model's module, in place.

        Raises:
            ModelError: E432 when the cut does not fit the module.
        """
        with _quiet():
            group = self._group(cut)
            if not self._graph.check_pruning_group(group):
                raise _misfit(cut, "nothing would be left of a layer")
            group.prune()

    def _group(self, cut: Cut) -> Any:
        try:
            module = self._module.get_submodule(cut.module)
            pruner = self._graph.get_pruner_of_module(module)
            edit = pruner.prune_out_channels if cut.side == "out" else pruner.prune_in_channels
            size = (
                self._graph.get_out_channels(module)
                if cut.side == "out"
                else self._graph.get_in_channels(module)
            )
            if not all(0 <= index < size for index in cut.indices):
                raise _misfit(cut, f"it has {size} channels")
            return self._graph.get_pruning_group(module, edit, list(cut.indices))
        except (AttributeError, KeyError, ValueError) as problem:
            raise _misfit(cut, str(problem)) from problem

    def _members(self, group: Any) -> tuple[Member, ...]:
        return tuple(
            Member(
                module=self._names[item.dep.target.module],
                side="out" if self._graph.is_out_channel_pruning_fn(item.dep.handler) else "in",
                indices=tuple(item.idxs),
                channels=tuple(item.root_idxs),
            )
            for item in group
            if item.dep.target.module in self._names
        )

    def _gives(self, dep: Any) -> bool:
        return bool(self._graph.is_out_channel_pruning_fn(dep.handler))

    def _obstacle(self, group: Any) -> str:
        return next(
            (why for dep, _ in group if (why := _hinders(dep.target, self._gives(dep)))), ""
        )

    def _reach(self, layer: torch.nn.Module) -> tuple[set[object], str]:
        """Return the layers whose outputs hang together with one layer's, and the first obstacle.

        It asks for no indices, which the residual stream of a transformer has too many of. What was
        joined is not walked backwards, as its parts need not belong to one group: an obstacle that
        lies there is found with the group itself.
        """
        start = self._graph.module2node[layer]
        waiting = deque([(start, self._graph.get_pruner_of_module(layer).prune_out_channels)])
        seen = {(start, True)}
        found, obstacle = {start.module}, _hinders(start, True)
        while waiting:
            node, edit = waiting.popleft()
            for dep in node.dependencies:
                place = (dep.target, self._gives(dep))
                back = dep.target in node.inputs and node.type.name in _JOINTS
                if back or place in seen or not dep.is_triggered_by(edit):
                    continue
                seen.add(place)
                obstacle = obstacle or _hinders(*place)
                if place[1]:
                    found.add(dep.target.module)
                waiting.append((dep.target, dep.handler))
        return found, obstacle


def _is_root(layer: torch.nn.Module) -> bool:
    kinds = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
    return isinstance(layer, kinds) or is_transposed(layer)


def _hinders(node: Any, gives: bool) -> str:
    """Say why a channel that reaches an operation may not be removed."""
    if gives and not node.outputs:
        return "its channels are an output of the model"
    if node.type.name not in _FAITHFUL:
        return f"its channels meet in {_WORDS.get(node.type.name, node.type.name.lower())}"
    if getattr(node.module, "groups", 1) > 1 and node.type.name != "DEPTHWISE_CONV":
        return "it feeds or is a grouped convolution"
    return ""


def _marked_outputs(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Run a module with one more operation after each output, so that outputs end the trace."""
    given = module(*example)
    outputs = given if isinstance(given, tuple | list) else (given,)
    return [output * 1.0 for output in outputs if output.requires_grad]


def _misfit(cut: Cut, why: str) -> ModelError:
    return ModelError(
        "E432",
        f"{len(cut.indices)} channels cannot be cut from `{cut.module}`",
        why=why,
        fix="build again with --fresh; the model's code may have changed",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tracer's prints and warnings to itself."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
