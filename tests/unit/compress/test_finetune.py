from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import Rows
from pydantic import ValidationError
from torch import nn

from edgepack.compress.batches import Batches
from edgepack.compress.finetune import Finetune
from edgepack.compress.objective import loss
from edgepack.compress.prune import Prune
from edgepack.errors import ModelError, UsageError
from edgepack.model import Model
from edgepack.types import Sample, TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("batch", 4))


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


def taught(teacher, context, count=32, **options):
    """Return a linear model fine-tuned on wrong labels beside a teacher that is right."""
    data = rows(lambda x: int(x.sum() <= 0), count)
    return Finetune(epochs=60, learning_rate=0.1, **options).apply(
        linear(2), replace(context, data={"train": data}, original=lambda: teacher)
    )


def right(model):
    """Return the share that a model tells as the sum's sign says."""
    x = np.random.default_rng(1).standard_normal((200, 4)).astype(np.float32)
    return float((model.run({"x": x})["output"].argmax(1) == (x.sum(1) > 0)).mean())


@pytest.fixture
def teacher():
    model = linear(2)
    with torch.no_grad():
        model.module.weight.copy_(torch.tensor([[-2.0] * 4, [2.0] * 4]))
        model.module.bias.zero_()
    return model


@pytest.mark.parametrize(("share", "follows"), [(0.0, "labels"), (1.0, "teacher")])
def test_the_model_as_it_came_in_teaches_by_its_weight(share, follows, teacher, context):
    made = taught(teacher, context, distil=share)
    assert (right(made) > 0.9) == (follows == "teacher")
    assert (right(made) < 0.1) == (follows == "labels")


def test_a_softened_teacher_passes_on_how_sure_it_is(teacher, context):
    made = taught(teacher, context, count=128, distil=1.0)
    x = {"x": np.ones((1, 4), np.float32)}
    ours, theirs = (m.run(x)["output"][0] for m in (made, teacher))
    assert ours[1] - ours[0] == pytest.approx(theirs[1] - theirs[0], rel=0.1)


def test_a_teacher_of_other_classes_is_refused(context):
    with pytest.raises(ModelError) as caught:
        taught(linear(3), context, distil=0.5)
    assert caught.value.code == "E457"


@pytest.mark.parametrize("kept", [False, True])
def test_zeros_stay_zeros_if_asked(kept, context):
    model = linear(2)
    with torch.no_grad():
        model.module.weight[:, :2] = 0
    data = rows(lambda x: int(x.sum() > 0))
    made = Finetune(keep_zeros=kept).apply(model, replace(context, data={"train": data}))
    assert bool((made.module.weight[:, :2] == 0).all()) == kept
    assert (made.module.weight[:, 2:] != model.module.weight[:, 2:]).all()


def test_few_samples_are_noted(context, events, monkeypatch):
    notes = []
    monkeypatch.setattr(events, "note", notes.append, raising=False)
    Finetune(epochs=1).apply(linear(2), replace(context, data={"train": rows(lambda x: 1)}))
    assert "32 samples" in notes[0]


def test_threads_are_those_asked_for_and_go_back(context, monkeypatch):
    before, seen = torch.get_num_threads(), []
    original = torch.nn.Linear.forward

    def forward(self, x):
        seen.append(torch.get_num_threads())
        return original(self, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    data = rows(lambda x: 1)
    Finetune(epochs=1, threads=2).apply(linear(2), replace(context, data={"train": data}))
    assert 2 in seen
    assert torch.get_num_threads() == before


def test_patience_without_anything_to_judge_by_is_refused():
    with pytest.raises(ValidationError, match="hold_out"):
        Finetune(patience=2)
