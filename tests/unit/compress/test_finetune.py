from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgepack.compress.batches import Batches
from edgepack.compress.finetune import Finetune
from edgepack.compress.objective import loss
from edgepack.compress.prune import Prune
from edgepack.errors import ModelError, UsageError
from edgepack.model import Model
from edgepack.types import Sample, TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("batch", 4))


class Rows(list):
    digest = "rows"
    generated = False


def linear(outputs=1):
    torch.manual_seed(0)
    return Model.of(nn.Linear(4, outputs), (X,), {"x": np.zeros((1, 4), np.float32)})


def rows(labels, count=32):
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((1, 4)).astype(np.float32) for _ in range(count)]
    return Rows(Sample(({"x": x},), labels(x)) for x in inputs)


def test_pruning_costs_and_finetuning_wins_back(digits, context, accuracy, events):
    pruned = Prune(ratio=0.5).apply(digits, context)
    tuned = Finetune(epochs=3).apply(pruned, context)
    assert accuracy(digits) >= 0.97
    assert accuracy(pruned) < 0.6
    assert accuracy(tuned) >= 0.97
    assert tuned.edits == pruned.edits
    assert events.steps[-1] == ("finetune", 3 * 23, 3 * 23)
    assert not tuned.module.training


def test_training_is_repeatable_and_leaves_its_model_alone(digits, context):
    before, threads = digits.digest, torch.get_num_threads()
    one, other = (Finetune(epochs=1).apply(digits, context) for _ in range(2))
    assert one.digest == other.digest != before
    assert digits.digest == before
    assert Finetune(epochs=1).apply(digits, replace(context, seed=1)).digest != one.digest
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_values_are_fitted_by_square_error(context, optimizer):
    data = rows(lambda x: float(x.sum()))
    tune = Finetune(epochs=60, learning_rate=0.1, batch_size=8, optimizer=optimizer)
    model = tune.apply(linear(), replace(context, data={"train": data}))
    np.testing.assert_allclose(model.module.weight.detach(), np.ones((1, 4)), atol=1e-2)


def test_a_loss_follows_its_labels():
    data = Batches.of(linear(2), rows(lambda x: 1, 1), labelled=True)
    assert loss(torch.tensor([[0.0, 9.0]]), data, range(1)) < 1e-3
    data = Batches.of(linear(), rows(lambda x: 1.0, 2), labelled=True)
    assert loss(torch.zeros(2, 1), data, range(2)) == 1


def test_divergence_is_named(context):
    data = rows(lambda x: 1e30)
    with pytest.raises(ModelError, match="diverged") as caught:
        Finetune(epochs=50, learning_rate=1e30, optimizer="sgd").apply(
            linear(), replace(context, data={"train": data})
        )
    assert caught.value.code == "E434"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (rows(lambda x: None), "E264"),
        (Rows([Sample(({"x": np.zeros((1, 4), np.float32)},) * 2, 1)]), "E264"),
        (rows(lambda x: "cat"), "E265"),
        (rows(lambda x: np.zeros(1 + int(x[0, 0] > 0))), "E265"),
        (Rows([Sample(({"x": np.zeros((1, n), np.float32)},), 1) for n in (4, 5)]), "E266"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(context, data, code):
    with pytest.raises(UsageError) as caught:
        Finetune().apply(linear(), replace(context, data={"train": data}))
    assert caught.value.code == code


class Averaged(nn.Module):
    """Averages embeddings over the tokens that the mask keeps."""

    def __init__(self):
        super().__init__()
        self.embed = nn.EmbeddingBag(10, 2, mode="sum")

    def forward(self, tokens, mask):
        return self.embed(tokens, per_sample_weights=mask.float())


def test_texts_of_different_length_are_filled_behind_the_mask(context):
    specs = [
        TensorSpec(name=name, dtype="int64", shape=("batch", "sequence"))
        for name in ("tokens", "mask")
    ]
    example = {"tokens": np.ones((1, 3), np.int64), "mask": np.ones((1, 3), np.int64)}
    model = Model.of(Averaged(), tuple(specs), example)
    data = Rows(
        Sample(({"tokens": np.full((1, n), 1 + n % 2), "mask": np.ones((1, n), np.int64)},), n % 2)
        for n in range(1, 9)
    )
    tuned = Finetune(epochs=20, learning_rate=0.1).apply(
        model, replace(context, data={"train": data})
    )
    assert torch.equal(tuned.module.embed.weight[0], model.module.embed.weight[0])
    got = [tuned.run(sample.inputs[0])["output"].argmax() for sample in data]
    assert got == [sample.label for sample in data]
