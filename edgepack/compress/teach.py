"""Makes a student and has it taught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from edgepack.compress.batches import Batches
from edgepack.compress.judge import judge
from edgepack.compress.lessons import Lessons, mask_of
from edgepack.compress.matching import attention, hidden, relations
from edgepack.compress.matching.embedding import cosine, square
from edgepack.compress.matching.soft import difference
from edgepack.compress.matching.watch import Pair, Seen, watched
from edgepack.compress.objective import first, loss
from edgepack.compress.student import derive, parameters
from edgepack.compress.train import summary, train
from edgepack.errors import ModelError, UsageError
from edgepack.model.run import repeatable
from edgepack.types import Student

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.distil import Distil
    from edgepack.model import Model
    from edgepack.model.fit import Objective

VECTORS = ("sentence_embedding", "last_hidden_state")
"""Outputs that are embeddings by their name."""
FEW = 100
"""Samples below which a student mostly learns its teacher's answers by heart."""
NOTICED = 0.95
"""Share of the multiply-adds above which nobody would notice."""
Answers = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def distil(model: Model, options: Distil, context: Context) -> Model:
    """Return the student after its lessons; raises as `Distil.apply`."""
    student, told = _student(model, options, context)
    made = options.student or options.derives
    teacher = model
    if options.teacher == "original" or not (made or options.teacher == "incoming"):
        assert context.original is not None
        teacher = context.original()
    _require_fit(student, teacher, options)
    data = Batches.of(student, context.data["train"], labelled=False)
    if options.mix:
        _require_numbers(data)
    taught = _Class(student, teacher, data, options, context)
    trained_model, trained = train(
        student,
        data,
        options.schedule(),
        context,
        "distil",
        objective=taught.objective,
        extra=taught.inside if len(taught.inside) else None,
    )
    context.events.decision(
        {
            "teacher_parameters": parameters(teacher.module),
            "student_parameters": parameters(student.module),
            **told,
            "answers": taught.answers_by,
            "held": {name: [pair.ours.module for pair in p] for name, p in taught.pairs.items()},
            "samples": len(data),
            "labelled": data.labels is not None,
            **summary(trained),
            "losses": taught.losses(trained_model.module),
            **judge(trained_model, teacher, data, context, taught.lessons),
        }
    )
    _note(trained_model, teacher, len(data), bool(made), context)
    return trained_model


def _student(model: Model, options: Distil, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the untaught student, and how it came about."""
    if options.student:
        given = context.models[options.student]()
        student = dataclasses.replace(given, edits=(Student(source=options.student),))
        return student, {"student": options.student}
    if not options.derives:
        return model, {}
    derived = derive(model, options.shape, options.copy_layers)
    if derived.sliced:
        context.events.note(
            "the student's layers are narrower than its teacher's and begin with slices of them: "
            "it has more to learn than one that only has fewer layers"
        )
    return derived.model, {"copied_layers": list(derived.copied)}


def _require_fit(student: Model, teacher: Model, options: Distil) -> None:
    """Refuse a student that takes something else, or whose scores are of other classes.

    Raises:
        ModelError: E476.
    """
    ours, theirs = ([(s.name, s.dtype) for s in one.inputs] for one in (student, teacher))
    shapes = [one.outputs[0].shape for one in (student, teacher)]
    if ours != theirs:
        mine, others = ("; ".join(map(str, one.inputs)) for one in (student, teacher))
        why = f"the student takes {mine}, and the teacher {others}"
    elif len(shapes[0]) != len(shapes[1]) or (
        shapes[0][-1] != shapes[1][-1] and options.answers != "cosine"
    ):
        why = f"the student gives {student.outputs[0]}, and the teacher {teacher.outputs[0]}"
    else:
        return
    raise ModelError(
        "E476",
        "teacher and student do not fit each other",
        why=why,
        fix="give the student the teacher's inputs and first output, names included",
    )


def _require_numbers(data: Batches) -> None:
    """Refuse to blend what is no number.

    Raises:
        UsageError: E258.
    """
    for name, tensor in zip(data.names, data.inputs(range(1)), strict=True):
        if not tensor.is_floating_point():
            raise UsageError(
                "E258",
                f"`{name}` cannot be blended",
                where="mix",
                why=f"it holds {str(tensor.dtype).removeprefix('torch.')}, and the mean of two "
                "tokens is no token",
                fix="leave out `mix`",
            )


class _Class:
    """What one student is held to by one teacher.

    Attributes:
        answers_by: how answers are held.
        pairs: points inside, by what is held.
        inside: the losses of what happens inside, with their projections.
        lessons: what the teacher gives.
    """

    def __init__(
        self, student: Model, teacher: Model, data: Batches, options: Distil, context: Context
    ) -> None:
        self._options, self._data = options, data
        ours, theirs = student.module, teacher.module
        at = options.match_layers
        self.pairs: dict[str, list[Pair]] = {}
        if options.match_hidden:
            self.pairs["hidden"] = (
                hidden.named(ours, theirs, options.features)
                if options.features
                else hidden.pairs(ours, theirs, at)
            )
        if options.match_attention:
            self.pairs["attention"] = attention.pairs(ours, theirs, at)
        if options.match_relations:
            self.pairs["relations"] = relations.pairs(ours, theirs, at)
        every = [pair for pairs in self.pairs.values() for pair in pairs]
        self._points = [pair.ours for pair in every]
        self.lessons = Lessons(
            teacher, data, [pair.theirs for pair in every], options.batch_size, context.events
        )
        self.answers_by = _how(teacher, data, options, self.lessons)
        seen, answer = self._student(ours, data.inputs(range(1)))
        shown, wanted = self.lessons.at(range(1))
        with repeatable(context.seed):
            self.inside = torch.nn.ModuleDict(
                {name: self._loss(name, pairs, seen, shown) for name, pairs in self.pairs.items()}
            )
            if answer.shape[-1] != wanted.shape[-1]:
                wide = answer.shape[-1], wanted.shape[-1]
                self.inside["answers"] = torch.nn.Linear(*wide, bias=False)
        self._weights = {
            "hidden": options.match_hidden,
            "attention": options.match_attention,
            "relations": options.match_relations,
        }

    @property
    def objective(self) -> Objective:
        """What is made small."""

        def objective(module: torch.nn.Module, places: Sequence[int]) -> torch.Tensor:
            return torch.stack([w * part for _, w, part in self._parts(module, places)]).sum()

        return objective

    def losses(self, module: torch.nn.Module) -> dict[str, float]:
        """Return each loss by itself, without its weight, over the first samples."""
        places = range(min(len(self._data), 4 * self._options.batch_size))
        with torch.no_grad():
            return {n: round(float(part), 4) for n, _, part in self._parts(module, places)}

    def _parts(
        self, module: torch.nn.Module, places: Sequence[int]
    ) -> list[tuple[str, float, torch.Tensor]]:
        """Return what is held, how much it weighs, and its loss; blends are for training alone."""
        inputs, share, others = self._data.inputs(places), 1.0, places
        mix = self._options.mix and module.training
        if mix:
            share, order = float(torch.rand(())), torch.randperm(len(places)).tolist()
            inputs = tuple(share * one + (1 - share) * one[order] for one in inputs)
            others = [places[place] for place in order]
        seen, given = self._student(module, inputs)
        shown, wanted = self.lessons.on(inputs) if mix else self.lessons.at(places)
        mask = mask_of(self._data, places)
        alpha = self._options.alpha if self._data.labels is not None else 1.0
        parts = []
        if alpha:
            ours = self.inside["answers"](given) if "answers" in self.inside else given
            parts.append(("answers", alpha, self._answers(ours, wanted, mask)))
        if alpha < 1:
            labels = share * loss(given, self._data, places)
            if mix:
                labels = labels + (1 - share) * loss(given, self._data, others)
            parts.append(("labels", 1 - alpha, labels))
        for name in self.pairs:
            parts.append((name, self._weights[name], self.inside[name](seen, shown, mask)))
        return parts

    def _student(
        self, module: torch.nn.Module, inputs: Sequence[torch.Tensor]
    ) -> tuple[Seen, torch.Tensor]:
        with watched(module, self._points) as seen:
            answer = first(module(*inputs))
        return seen, answer

    @property
    def _answers(self) -> Answers:
        if self.answers_by == "soft":
            return partial(difference, temperature=self._options.temperature)
        return cosine if self.answers_by == "cosine" else square

    def _loss(self, name: str, pairs: list[Pair], ours: Seen, theirs: Seen) -> torch.nn.Module:
        if name == "hidden":
            return hidden.Hidden(pairs, ours, theirs)
        if name == "attention":
            return attention.Attended(pairs, ours, theirs)
        return relations.Related(pairs, ours, theirs, self._options.relation_heads)


def _how(teacher: Model, data: Batches, options: Distil, lessons: Lessons) -> str:
    """Return how answers are held: as asked, or as what the teacher gives suggests.

    Raises:
        ModelError: E478 when what it gives is no number.
    """
    _, answer = lessons.at(range(min(len(data), options.batch_size)))
    if not torch.isfinite(answer).all():
        raise ModelError(
            "E478",
            "the teacher's answers are no numbers",
            why="its outputs for the training data hold NaN or infinite values",
            fix="look for huge or broken values in the training data and the teacher",
        )
    if options.answers != "auto":
        return options.answers
    if data.labels is not None:
        return "mean-square" if data.labels.is_floating_point() else "soft"
    lengths = answer.norm(dim=-1)
    unit = bool(torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3))
    return "cosine" if unit or teacher.outputs[0].name in VECTORS else "soft"


def _note(student: Model, teacher: Model, samples: int, made: bool, context: Context) -> None:
    """Say where distillation does not suit, or gains less than it seems."""
    if samples < FEW:
        context.events.note(
            f"distil has {samples} samples: the student may learn the teacher's answers to them by "
            "heart; inputs without labels serve as well, so show it more, or blend them with `mix`"
        )
    before, after = (one.facts()["multiply_adds"] for one in (teacher, student))
    if made and after > NOTICED * before:
        context.events.note(
            f"the student does {after / before:.0%} of its teacher's multiply-adds: do not expect "
            "a lower latency"
        )
