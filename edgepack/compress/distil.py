"""Trains a small model to answer as a large one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgepack.base import Context, ModelPass
from edgepack.compress.presets import PRESETS, Preset, Shape
from edgepack.compress.schedule import Training
from edgepack.types import Split

if TYPE_CHECKING:
    from edgepack.model import Model


class Distil(Training, ModelPass):
    """Teach a student what its teacher answers, and how it comes to it.

    With `student`, a factory's model takes the place of the incoming one, which teaches it. With
    `preset`, `layers`, `hidden`, `heads`, `intermediate` or `embedding`, the student is derived
    from the incoming model and begins with weights of it. With none of these the incoming model is
    the student, and the model as it came in teaches. Several such steps make teaching assistants.

    Answers are held by softened scores (Hinton et al., arXiv 1503.02531), mixed with the labels
    where there are some, or by cosine or mean square for embeddings. What happens inside can be
    held as well: hidden states and attention (TinyBERT, arXiv 1909.10351), and relations of
    queries, keys and values (MiniLMv2, arXiv 2012.15828). Samples without labels serve, too, and
    so do blends of samples (Beyer et al., CVPR 2022, arXiv 2106.05237).
    """

    name: ClassVar[str] = "distil"
    needs: ClassVar[frozenset[Split]] = frozenset({"train"})
    reads: ClassVar[frozenset[Split]] = frozenset({"evaluation"})

    student: str = Field("", description="the student, such as torch:student.py:build")
    preset: Preset | Literal[""] = Field("", description="a shape known from a paper")
    layers: int = Field(0, ge=0, description="blocks of the student")
    hidden: int = Field(0, ge=0, description="width between the student's blocks")
    heads: int = Field(0, ge=0, description="heads of each attention of the student")
    intermediate: int = Field(
        0, ge=0, description="inner width of the student's feed-forward layers"
    )
    embedding: int = Field(
        0, ge=0, description="width of the student's table of tokens, which a linear layer widens"
    )
    copy_layers: tuple[int, ...] = Field(
        (),
        description="blocks of the teacher, from 0, whose weights the student's begin with; evenly "
        "spread where none is named",
    )
    teacher: Literal["auto", "incoming", "original"] = Field(
        "auto",
        description="who teaches: `auto` is the incoming model where a student is made, else the "
        "model as it came in",
    )
    answers: Literal["auto", "soft", "cosine", "mean-square"] = Field(
        "auto",
        description="how answers are held; `auto` is `soft` for scores, `cosine` for embeddings, "
        "`mean-square` for values",
    )
    temperature: float = Field(4.0, gt=0, description="softens scores before they are held")
    alpha: float = Field(
        0.9, ge=0, le=1, description="weight of the teacher's answers; the labels have the rest"
    )
    mix: bool = Field(
        False,
        description="blend the samples of a batch in pairs and ask the teacher about the blends: "
        "more to learn from where samples are few and inputs are numbers, such as pictures",
    )
    match_hidden: float = Field(0.0, ge=0, description="weight of the states after the blocks")
    match_attention: float = Field(0.0, ge=0, description="weight of where attention looks")
    match_relations: float = Field(
        0.0, ge=0, description="weight of how queries, keys and values resemble each other"
    )
    match_layers: tuple[int, ...] = Field(
        (),
        description="blocks of the student that are held, -1 for the last; without it all of them, "
        "and the last for relations",
    )
    relation_heads: int = Field(
        0, ge=0, description="heads that relations are split into; 0 for what suits both widths"
    )
    features: dict[str, str] = Field(
        {},
        description="modules of the student, and those of the teacher that `match_hidden` holds "
        "them to, in the place of blocks",
    )

    @property
    def shape(self) -> Shape:
        """The shape of a student that is derived; all 0 where none is."""
        given = {name: value for name in Shape.model_fields if (value := getattr(self, name))}
        base = PRESETS[self.preset] if self.preset else Shape()
        return base.model_copy(update=given)

    @property
    def derives(self) -> bool:
        """Whether the student is derived from the incoming model."""
        return self.shape != Shape()

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        if self.student and self.derives:
            raise ValueError("a student that `student` names has its own shape; leave the rest out")
        if self.copy_layers and len(self.copy_layers) != self.shape.layers:
            raise ValueError("`copy_layers` names one block of the teacher for each of `layers`")
        if any(b <= a for a, b in zip(self.copy_layers, self.copy_layers[1:], strict=False)):
            raise ValueError("`copy_layers` goes up, and names no block twice")
        if self.teacher == "incoming" and not (self.student or self.derives):
            raise ValueError("the incoming model cannot teach itself: say which student it has")
        if self.features and not self.match_hidden:
            raise ValueError("`features` is held by the weight `match_hidden`, which is 0")
        return self

    def models(self) -> tuple[str, ...]:
        """Return the student's reference, where it is given by one."""
        return (self.student,) if self.student else ()

    def apply(self, model: Model, context: Context) -> Model:
        """Make the student where one is asked for, and train it.

        Raises:
            UsageError: E250 when `features` fits no module, E252 or E257 when a block is named that
                there is not, E258 when inputs that are no numbers are to be blended, E264 to E266
                when the training data does not fit the model.
            ModelError: E475 when no such student can be derived, E476 when teacher and student do
                not fit each other, E477 when there is nothing inside to hold, E478 when the
                teacher's answers are no numbers, E434 when the loss is no longer a number.
            HostError: E325 when a log is asked for and tensorboard is missing.
        """
        from edgepack.compress.teach import distil

        return distil(model, self, context)
