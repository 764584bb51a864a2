import numpy as np
import pytest
import torch
from torch import nn

from edgepack.base import Context, Silent
from edgepack.errors import ModelError
from edgepack.export.export import Export
from edgepack.export.modules import first_module
from edgepack.export.trace import to_graph
from edgepack.graph.runner import ChildRunner
from edgepack.model import Model
from edgepack.types import TensorSpec


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm, self.act = nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU()

    def forward(self, x):
        return self.norm(x + self.act(self.inner(x)))


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def net(middle: nn.Module) -> Model:
    torch.manual_seed(0)
    module = nn.Sequential(Block(), middle, Block(), nn.Linear(8, 3))
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 8))
    return Model.of(module, (spec,), {"x": np.zeros((1, 8), np.float32)})


def test_the_error_names_the_first_module_that_differs(tmp_path):
    context = Context(tmp_path, 0, {}, ChildRunner(), Silent())
    with pytest.raises(ModelError) as caught:
        Export(opset=20).apply(net(Noisy()), context)
    assert caught.value.code == "E437"
    assert "first differs at `1` (Noisy; relative" in caught.value.why
    assert "4 of 10 compared agree before it" in caught.value.why


def test_a_weight_changed_after_the_export_is_found_where_it_is():
    model = net(nn.ReLU())
    exported = to_graph(model, 20)
    feed = model.sized({"batch": 2}, 1)
    assert first_module(model, exported, feed, ChildRunner(), 1e-4) is None
    with torch.no_grad():
        model.module[2].norm.bias += 0.5
    found = first_module(model, exported, feed, ChildRunner(), 1e-4)
    assert found is not None
    assert (found.node, found.operator, found.agreeing) == ("2.norm", "LayerNorm", 7)
    assert 0.01 < found.relative < 1
    assert 0.5 < found.cosine < 1


def test_a_module_that_is_called_twice_is_compared_at_its_first_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, x):
            return self.inner(torch.relu(self.inner(x)))

    model = net(Twice())
    feed = model.sized({"batch": 3}, 1)
    assert first_module(model, to_graph(model, 20), feed, ChildRunner(), 1e-4) is None
