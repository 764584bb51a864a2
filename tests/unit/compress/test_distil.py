"""Distillation: what a student begins with, what it is held to, and what is said of it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from nets import Noted, Rows, bert, gpt2, llama, vit, wrapped
from pydantic import ValidationError
from torch import nn

from edgepack.compress.distil import Distil
from edgepack.compress.matching.layers import matched, spread
from edgepack.compress.objective import soft
from edgepack.compress.presets import PRESETS
from edgepack.errors import EdgepackError, ModelError, UsageError
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.edits import replay
from edgepack.types import Sample, Student, TensorSpec

STUDENT = "torch:student.py:build"


def noted(context, teacher, data, student=None):
    return replace(
        context,
        events=Noted(),
        data={"train": data},
        original=lambda: teacher,
        models={STUDENT: student} if student else {},
    )


def texts(count=24, label=None):
    rng = np.random.default_rng(0)
    rows = []
    for place in range(count):
        length = 4 + place % 3
        ids, mask = rng.integers(1, 50, (1, 6)), np.ones((1, 6), np.int64)
        ids[:, length:], mask[:, length:] = 0, 0
        inputs = {"input_ids": ids.astype(np.int64), "attention_mask": mask}
        rows.append(Sample((inputs,), label and label(place)))
    return Rows(rows)


def vectors(count=200, label=None):
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((1, 6)).astype(np.float32) for _ in range(count)]
    return Rows(Sample(({"x": row},), label and label(row)) for row in rows)


def net(*sizes, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    parts = [part for layer in layers for part in (layer, nn.Tanh())]
    return wrapped(nn.Sequential(*parts[:-1]), 6)


def exported(model):
    """Bytes of a model as an ONNX file."""
    return to_graph(model, opset=20).graph.facts()["bytes"]


def agreement(one, other, data):
    given = [[m.run(s.inputs[0])["output"].argmax() for s in data] for m in (one, other)]
    return float(np.mean(np.equal(*given)))


def test_soft_answers_are_the_divergence_of_softened_scores_times_the_squared_temperature():
    ours, theirs = torch.randn(5, 4), torch.randn(5, 4)
    p, q = (theirs / 3).softmax(-1), (ours / 3).softmax(-1)
    wanted = 9 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(soft(ours, theirs, 3.0), wanted)


def test_a_student_by_a_factory_learns_its_teachers_answers_without_labels(context):
    teacher, data = net(6, 32, 4), vectors()
    with torch.no_grad():
        teacher.module[2].weight.mul_(8)
    taught = noted(context, teacher, data, lambda: net(6, 16, 4, seed=1))
    before = agreement(taught.models[STUDENT](), teacher, data)
    student = Distil(student=STUDENT, epochs=30, learning_rate=0.02).apply(teacher, taught)
    assert student.edits == (Student(source=STUDENT),)
    assert agreement(student, teacher, data) > max(0.9, before + 0.2)
    (told,) = taught.events.decisions
    assert told["answers"] == "soft"
    assert not told["labelled"]
    assert told["student_parameters"] < told["teacher_parameters"]
    again = Distil(student=STUDENT, epochs=30, learning_rate=0.02).apply(teacher, taught)
    assert again.digest == student.digest


def test_alpha_mixes_answers_and_labels(context):
    """A teacher that is wrong: with alpha 1 the student follows it, with alpha 0 the labels."""
    teacher = net(6, 4)
    data = vectors(label=lambda row: int(row[0, 0] > 0))
    found = {}
    for alpha in (0.0, 1.0):
        taught = noted(context, teacher, data, lambda: net(6, 16, 4, seed=1))
        one = Distil(student=STUDENT, epochs=20, learning_rate=0.02, alpha=alpha)
        found[alpha] = one.apply(teacher, taught)
        (told,) = taught.events.decisions
        assert set(told["losses"]) == ({"labels"} if alpha == 0 else {"answers"})
    labels = [sample.label for sample in data]
    right = {a: np.mean([m.run(s.inputs[0])["output"].argmax() for s in data] == np.array(labels))
             for a, m in found.items()}  # fmt: skip
    assert right[0.0] > 0.9
    assert right[1.0] < 0.7
    assert agreement(found[1.0], teacher, data) > 0.9


@pytest.mark.parametrize("maker", [bert, gpt2, llama, vit])
def test_fewer_layers_begin_as_those_of_the_teacher(maker, context):
    teacher = maker()
    data = texts(8) if maker is not vit else Rows([Sample((teacher.example,))] * 8)
    one = Distil(layers=2, epochs=1, learning_rate=1e-12)
    taught = noted(context, teacher, data)
    student = one.apply(teacher, taught)
    (told,) = taught.events.decisions
    assert told["copied_layers"] == [0, 3]
    whole = dict(teacher.module.named_parameters())
    for name, parameter in student.module.named_parameters():
        source = name.replace(".1.", ".3.") if name not in whole else name
        twins = [whole[source], whole.get(name.replace(".1.", ".3."), whole[source])]
        assert any(torch.allclose(parameter, twin, atol=1e-6) for twin in twins), name
    feeds = {s.name: teacher.example[s.name] for s in teacher.inputs}
    assert student.run(feeds)
    if maker is gpt2:
        assert exported(student) < 0.8 * exported(teacher)


def test_the_layers_to_begin_with_can_be_named(context):
    teacher = bert()
    taught = noted(context, teacher, texts(8))
    student = Distil(layers=2, copy_layers=(1, 2), epochs=1, learning_rate=1e-12).apply(
        teacher, taught
    )
    ours, theirs = (
        [p for n, p in m.module.named_parameters() if "layer." in n and "query.weight" in n]
        for m in (student, teacher)
    )
    assert len(ours) == 2
    torch.testing.assert_close(ours, theirs[1:3], atol=1e-6, rtol=0)


@pytest.mark.parametrize("maker", [bert, llama])
def test_a_narrower_student_begins_with_slices_and_its_edits_can_be_replayed(maker, context):
    teacher = maker()
    taught = noted(context, teacher, texts(8))
    one = Distil(layers=2, hidden=16, heads=2, intermediate=24, epochs=1)
    student = one.apply(teacher, taught)
    assert any("narrower" in note for note in taught.events.notes)
    again = replay(teacher, student.edits)
    shapes = [{n: p.shape for n, p in m.module.named_parameters()} for m in (student, again)]
    assert shapes[0] == shapes[1]
    assert student.facts()["parameters"] < 0.4 * teacher.facts()["parameters"]
    if maker is bert:
        assert exported(student) < 0.5 * exported(teacher)


def test_a_slice_gives_what_the_whole_gives_where_the_rest_is_zero(context):
    """Inner neurons that do nothing are the ones that go: the narrower student answers alike."""
    teacher = bert()
    with torch.no_grad():
        for name, parameter in teacher.module.named_parameters():
            if "intermediate.dense" in name:
                parameter[1::2] = 0
            if "output.dense.weight" in name and "attention" not in name:
                parameter[:, 1::2] = 0
    data = texts(8)
    student = Distil(intermediate=32, epochs=1, learning_rate=1e-12).apply(
        teacher, noted(context, teacher, data)
    )
    for sample in data:
        given, wanted = (m.run(sample.inputs[0])["logits"] for m in (student, teacher))
        np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_a_narrower_table_of_tokens_is_its_best_approximation(context):
    teacher = bert()
    student = Distil(embedding=8, epochs=1, learning_rate=1e-12).apply(
        teacher, noted(context, teacher, texts(8))
    )
    name = next(n for n, p in teacher.module.named_modules() if n.endswith("word_embeddings"))
    table = teacher.module.get_submodule(name).weight.detach()
    u, s, v = torch.linalg.svd(table, full_matrices=False)
    best = (u[:, :8] * s[:8]) @ v[:8]
    given = student.module.get_submodule(name)(torch.arange(50)).detach()
    torch.testing.assert_close(given, best, atol=1e-4, rtol=0)
    small, whole = (
        sum(p.numel() for p in m.module.get_submodule(name).parameters())
        for m in (student, teacher)
    )
    assert small < 0.5 * whole


@pytest.mark.parametrize("held", ["match_hidden", "match_attention", "match_relations"])
@pytest.mark.parametrize("shape", [{"layers": 2}, {"hidden": 16, "heads": 2, "layers": 2}])
def test_what_is_held_inside_comes_nearer(held, shape, context):
    teacher = bert()
    with torch.no_grad():
        for name, parameter in teacher.module.named_parameters():
            if name.endswith(("query.weight", "key.weight", "value.weight")):
                parameter.mul_(30)
    losses = []
    for rate in (1e-9, 3e-3):
        taught = noted(context, teacher, texts())
        one = Distil.model_validate(
            {**shape, held: 5.0, "epochs": 10, "batch_size": 8, "learning_rate": rate}
        )
        student = one.apply(teacher, taught)
        (told,) = taught.events.decisions
        name = held.removeprefix("match_")
        losses.append(told["losses"][name])
        assert told["held"][name]
        assert "projections" not in str(dict(student.module.named_modules()))
    assert losses[1] < 0.8 * losses[0]


def test_modules_can_be_held_by_name_where_there_are_no_blocks(context):
    teacher, data = net(6, 32, 4), vectors()
    taught = noted(context, teacher, data, lambda: net(6, 16, 4, seed=1))
    one = Distil(student=STUDENT, match_hidden=1.0, features={"0": "0"}, epochs=5)
    one.apply(teacher, taught)
    assert taught.events.decisions[0]["held"] == {"hidden": ["0"]}


def test_padding_is_not_held(context):
    """What stands behind the mask changes nothing in what a student becomes."""
    found = []
    for filler in (0, 7):
        data = texts()
        for sample in data:
            feed = sample.inputs[0]
            feed["input_ids"][feed["attention_mask"] == 0] = filler
        teacher = bert()
        taught = noted(context, teacher, data)
        one = Distil(layers=2, match_hidden=1.0, match_relations=1.0, epochs=1)
        one.apply(teacher, taught)
        found.append(taught.events.decisions[0]["losses"])
    assert found[0] == pytest.approx(found[1], abs=2e-3)


class Embedder(nn.Module):
    def __init__(self, width, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(6, width)

    def forward(self, x):
        return nn.functional.normalize(self.layer(x), dim=-1)


def embedder(width=8, seed=0):
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 6))
    example = {"x": np.ones((1, 6), np.float32)}
    return Model.of(Embedder(width, seed), (spec,), example, ("sentence_embedding",))


def test_embeddings_are_held_by_cosine(context):
    teacher, data = embedder(), vectors()
    taught = noted(context, teacher, data, lambda: embedder(seed=1))
    student = Distil(student=STUDENT, epochs=30, learning_rate=0.05).apply(teacher, taught)
    assert taught.events.decisions[0]["answers"] == "cosine"
    name = "sentence_embedding"
    given = [[m.run(s.inputs[0])[name][0] for s in data] for m in (student, teacher)]
    assert np.mean(np.sum(np.multiply(*given), axis=1)) > 0.99


def test_embeddings_of_another_width_are_projected(context):
    teacher, data = embedder(8), vectors()
    taught = noted(context, teacher, data, lambda: embedder(4, seed=1))
    one = Distil(student=STUDENT, answers="cosine", epochs=10, learning_rate=0.05)
    student = one.apply(teacher, taught)
    assert student.outputs[0].shape[-1] == 4
    assert taught.events.decisions[0]["losses"]["answers"] < 0.5


def test_values_are_held_by_their_square_difference(context):
    teacher, data = net(6, 1), vectors(label=lambda row: float(row.sum()))
    taught = noted(context, teacher, data, lambda: net(6, 8, 1, seed=1))
    Distil(student=STUDENT, epochs=1).apply(teacher, taught)
    assert taught.events.decisions[0]["answers"] == "mean-square"


def test_the_model_as_it_came_in_teaches_what_became_of_it(digits, context):
    taught = replace(context, original=lambda: digits)
    broken = digits.copy()
    with torch.no_grad():
        broken.module.head.weight.zero_()
    student = Distil(epochs=1).apply(broken, taught)
    told = context.events.decisions[-1]
    assert told["teacher_parameters"] == told["student_parameters"]
    assert told["agreement"] > 90
    assert student.edits == digits.edits


def test_an_assistant_is_taught_by_the_incoming_model(context):
    """Two steps after each other: the second student's teacher is the first student."""
    teacher, data = net(6, 32, 4), vectors()
    taught = noted(context, teacher, data, lambda: net(6, 16, 4, seed=1))
    assistant = Distil(student=STUDENT, epochs=2).apply(teacher, taught)
    last = replace(taught, models={STUDENT: lambda: net(6, 8, 4, seed=2)})
    Distil(student=STUDENT, epochs=2).apply(assistant, last)
    first, second = taught.events.decisions
    assert second["teacher_parameters"] == first["student_parameters"]


def test_few_samples_and_little_gain_are_noted(context):
    teacher = bert()
    taught = noted(context, teacher, texts(8))
    Distil(embedding=24, epochs=1).apply(teacher, taught)
    assert any("8 samples" in note for note in taught.events.notes)
    assert any("lower latency" in note for note in taught.events.notes)


def test_a_student_that_is_better_only_on_what_it_saw_is_noted(context):
    """The teacher knows the rule; the student learns labels that contradict it by heart."""
    teacher = net(6, 2)
    rule = {"label": lambda row: int(np.diff(teacher.run({"x": row})["output"])[0, 0] > 0)}
    flips = iter(np.random.default_rng(1).integers(0, 2, 400))
    data = vectors(120, label=lambda row: (rule["label"](row) + int(next(flips))) % 2)
    rng = np.random.default_rng(9)
    rows = [rng.standard_normal((1, 6)).astype(np.float32) for _ in range(150)]
    held = Rows(Sample(({"x": row},), rule["label"](row)) for row in rows)
    taught = noted(context, teacher, data, lambda: net(6, 256, 2, seed=1))
    taught = replace(taught, data={"train": data, "evaluation": held})
    one = Distil(student=STUDENT, alpha=0.0, epochs=150, learning_rate=0.02, batch_size=40)
    one.apply(teacher, taught)
    (told,) = taught.events.decisions
    assert told["evaluation_accuracy"]["teacher"] == 100
    assert any("only on what it was taught on" in note for note in taught.events.notes)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"layers": 5}, "E475"),
        ({"hidden": 48}, "E475"),
        ({"heads": 3}, "E475"),
        ({"embedding": 32}, "E475"),
        ({"preset": "bert-mini"}, "E475"),
        ({"layers": 4}, "E475"),
        ({"layers": 2, "copy_layers": (0, 9)}, "E252"),
        ({"layers": 2, "match_hidden": 1.0, "match_layers": (2,)}, "E257"),
        ({"layers": 2, "match_hidden": 1.0, "features": {"nowhere": "0"}}, "E250"),
    ],
)
def test_what_cannot_be_is_refused(options, code, context):
    teacher = bert()
    with pytest.raises(EdgepackError) as caught:
        Distil.model_validate(options).apply(teacher, noted(context, teacher, texts(8)))
    assert caught.value.code == code
    assert caught.value.fix


@pytest.mark.parametrize(
    ("student", "options", "code"),
    [
        (lambda: net(6, 5), {}, "E476"),
        (bert, {}, "E476"),
        (lambda: net(6, 8, 4), {"match_attention": 1.0}, "E477"),
        (lambda: net(6, 8, 4), {"match_hidden": 1.0}, "E477"),
    ],
)
def test_a_student_that_does_not_fit_is_refused(student, options, code, context):
    teacher = net(6, 4)
    with pytest.raises(ModelError) as caught:
        Distil(student=STUDENT, epochs=1, **options).apply(
            teacher, noted(context, teacher, vectors(), student)
        )
    assert caught.value.code == code


def test_a_teacher_that_answers_with_nothing_is_named(context):
    teacher = net(6, 4)
    with torch.no_grad():
        teacher.module[0].bias.fill_(float("nan"))
    with pytest.raises(ModelError) as caught:
        Distil(student=STUDENT).apply(
            teacher, noted(context, teacher, vectors(), lambda: net(6, 4))
        )
    assert caught.value.code == "E478"


def test_a_recurrent_net_gives_no_narrower_student(context):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(6, 8, batch_first=True)

        def forward(self, x):
            return self.lstm(x)[0][:, -1]

    teacher = wrapped(Recurrent(), 5, 6)
    rows = Rows(Sample(({"x": np.ones((1, 5, 6), np.float32)},)) for _ in range(8))
    with pytest.raises(ModelError) as caught:
        Distil(hidden=4).apply(teacher, noted(context, teacher, rows))
    assert caught.value.code == "E475"
    assert isinstance(Distil(epochs=1).apply(teacher, noted(context, teacher, rows)), Model)


@pytest.mark.parametrize(
    "options",
    [
        {"student": STUDENT, "layers": 2},
        {"layers": 2, "copy_layers": (0,)},
        {"layers": 2, "copy_layers": (3, 1)},
        {"teacher": "incoming"},
        {"features": {"a": "b"}},
        {"temperature": 0},
        {"alpha": 1.5},
        {"preset": "huge"},
    ],
)
def test_options_that_contradict_each_other_are_refused(options):
    with pytest.raises(ValidationError):
        Distil.model_validate(options)


def test_a_preset_is_a_shape_that_options_change():
    one = Distil(preset="tinybert-4", layers=3)
    assert one.shape == PRESETS["tinybert-4"].model_copy(update={"layers": 3})
    assert Distil(student=STUDENT).models() == (STUDENT,)


def test_a_block_stands_for_those_that_end_as_deep():
    assert matched(2, 6, ()) == [(0, 2), (1, 5)]
    assert matched(3, 12, (-1,)) == [(2, 11)]
    assert spread(6, 2) == [0, 5]
    assert spread(12, 4) == [0, 4, 7, 11]
    assert spread(4, 1) == [0]
    with pytest.raises(UsageError):
        matched(2, 6, (2,))


def test_blends_of_few_samples_teach_more_than_the_samples(context):
    """On unseen samples the student answers as its teacher more often."""
    teacher = net(6, 16, 4)
    with torch.no_grad():
        teacher.module[2].weight.mul_(8)
    rng = np.random.default_rng(7)
    unseen = [Sample(({"x": rng.standard_normal((1, 6)).astype(np.float32)},)) for _ in range(300)]
    found = []
    for mix in (False, True):
        taught = noted(context, teacher, vectors(10), lambda: net(6, 64, 4, seed=1))
        one = Distil(student=STUDENT, epochs=300, learning_rate=0.01, batch_size=10, mix=mix)
        found.append(agreement(one.apply(teacher, taught), teacher, unseen))
    assert found[1] > found[0] + 0.03
    again = noted(context, teacher, vectors(10), lambda: net(6, 64, 4, seed=1))
    assert agreement(one.apply(teacher, again), teacher, unseen) == found[1]


def test_blended_labels_are_blended_too(context):
    """With alpha 0 and labels that agree, a blend has that label as well."""
    teacher, data = net(6, 4), vectors(label=lambda row: 2)
    taught = noted(context, teacher, data, lambda: net(6, 4, seed=1))
    one = Distil(student=STUDENT, alpha=0, epochs=60, learning_rate=0.05, mix=True)
    student = one.apply(teacher, taught)
    assert all(student.run(sample.inputs[0])["output"].argmax() == 2 for sample in data)


def test_tokens_cannot_be_blended(context):
    teacher = bert()
    with pytest.raises(UsageError, match="cannot be blended") as caught:
        Distil(layers=2, mix=True).apply(teacher, noted(context, teacher, texts(8)))
    assert caught.value.code == "E258"


def test_what_judges_is_not_blended(context):
    """Losses that are told, and those of held-out samples, are of the samples as they are."""
    teacher, data = net(6, 4), vectors()
    told = []
    for mix in (False, True):
        taught = noted(context, teacher, data, lambda: net(6, 4, seed=1))
        one = Distil(student=STUDENT, epochs=1, learning_rate=1e-12, mix=mix, hold_out=0.3)
        one.apply(teacher, taught)
        told.append(taught.events.decisions[0])
    assert told[0]["losses"] == told[1]["losses"]
    assert told[0]["held_out_loss"] == told[1]["held_out_loss"]
