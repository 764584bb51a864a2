import numpy as np
import pytest
import torch
from torch import nn

from edgepack.compress.activations import collect
from edgepack.compress.batches import Batches
from edgepack.errors import ModelError
from edgepack.model.matrices import fill, matrix


def batches(*arrays, names=("x",)):
    feeds = [dict(zip(names, given, strict=True)) for given in zip(*arrays, strict=True)]
    return Batches(feeds, names, None)


def pictures(count, *shape):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, *shape)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        pytest.param(nn.Conv2d(4, 6, 3, bias=False), (4, 7, 5), id="plain"),
        pytest.param(nn.Conv2d(4, 6, (3, 2), (2, 1), 1, bias=False), (4, 7, 5), id="strided"),
        pytest.param(nn.Conv2d(4, 6, 3, padding="same", dilation=2, bias=False), (4, 9, 9), id="d"),
        pytest.param(nn.Conv2d(4, 8, 3, groups=4, padding=1, bias=False), (4, 6, 6), id="groups"),
        pytest.param(
            nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect", bias=False), (2, 6, 6), id="edge"
        ),
        pytest.param(nn.Conv1d(4, 6, 3, stride=2, padding=2, bias=False), (4, 11), id="1d"),
        pytest.param(nn.Linear(5, 3, bias=False), (2, 5), id="linear"),
    ],
)
def test_moments_tell_the_length_of_the_outputs(layer, shape):
    data = pictures(20, *shape)
    seen = collect(layer, {"": layer}, batches(data))[""]
    weights = matrix(layer).double()
    told = torch.einsum("goi,gij,goj->", weights, seen.moment, weights)
    outputs = layer(torch.from_numpy(np.concatenate(data)))
    torch.testing.assert_close(told.float(), outputs.square().sum(), rtol=1e-4, atol=0)
    assert seen.rows * weights.shape[0] * weights.shape[1] == outputs.numel()


def test_a_matrix_goes_back_into_its_layer():
    from transformers.pytorch_utils import Conv1D

    for layer in (nn.Linear(4, 6), nn.Conv2d(4, 6, 3, groups=2), Conv1D(6, 4)):
        before = layer.weight.detach().clone()
        fill(layer, 2 * matrix(layer))
        torch.testing.assert_close(layer.weight.detach(), 2 * before)


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x, attention_mask):
        return self.first(input=x)


def test_padding_does_not_count_and_what_nothing_reaches_is_left_out():
    module = Masked()
    texts = pictures(4, 5, 3)
    masks = [np.array([[1, 1, 1, 0, 0]])] * 4
    data = batches(texts, masks, names=("x", "attention_mask"))
    seen = collect(module, {"first": module.first, "unused": module.unused}, data)
    assert set(seen) == {"first"}
    assert seen["first"].rows == 12
    kept = np.concatenate(texts)[:, :3].reshape(-1, 3)
    np.testing.assert_allclose(seen["first"].moment[0], kept.T @ kept, rtol=1e-5)
    assert not module.first._forward_pre_hooks


def test_inputs_that_are_no_numbers_are_refused():
    layer = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="not finite") as caught:
        collect(layer, {"head": layer}, batches([np.full((1, 2), np.inf, np.float32)]))
    assert caught.value.code == "E465"
