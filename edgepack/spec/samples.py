"""How files become samples: the tables under `[data]` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from edgepack.types import Frozen

Side: TypeAlias = Annotated[int, Field(ge=1, le=16384, strict=True)]
Area: TypeAlias = Side | tuple[Side, Side]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


class PicturesTable(Frozen):
    """`[data.pictures]`: from a file to what the network wants; in the order of these keys."""

    colour: Literal["rgb", "bgr", "grey"] | None = Field(
        None, description="order of the channels [grey for one channel, rgb for three]"
    )
    resize: Area | None = Field(
        None,
        description="the shorter side, or [height, width], in pixels [what just covers the crop]",
    )
    interpolation: Literal["bilinear", "bicubic", "nearest"] = Field(
        "bilinear", description="how pixels are found that lie between pixels"
    )
    crop: Area | None = Field(
        None, description="the centre: a side, or [height, width] [what the model takes]"
    )
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        255.0, description="what values of 0 to 255 are divided by"
    )
    mean: tuple[Number, ...] = Field(
        (), description="what is taken off then: one, or one a channel"
    )
    std: tuple[Annotated[Number, Field(gt=0)], ...] = Field(
        (), description="what is divided by then: one, or one a channel"
    )
    layout: Literal["nchw", "nhwc"] | None = Field(
        None, description="where the channels stand [where the model has one or three]"
    )

    @model_validator(mode="after")
    def _per_channel(self) -> PicturesTable:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in {0, 1, 3}:
                raise ValueError(f"write one number or three for {name}")
        return self


class TextTable(Frozen):
    """`[data.text]`: from texts to what the network reads."""

    window: Annotated[int, Field(ge=2, le=4096, strict=True)] | None = Field(
        None,
        description="all texts in a row, cut into windows of so many tokens, as for the perplexity "
        "of a decoder [each text is a sample]",
    )


class AudioTable(Frozen):
    """`[data.audio]`: from a wav file to one run, or to frames that are run in turn."""

    rate: Annotated[int, Field(ge=1000, le=192_000, strict=True)] | None = Field(
        None, description="values a second that the model expects [as the files are]"
    )
    window: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        None, description="values in a frame; each frame is one run [the file is one run]"
    )
    hop: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        None, description="values from one frame to the next [window]"
    )
    context: Annotated[int, Field(ge=0, strict=True)] = Field(
        0, description="values before the frame that are put in front of it"
    )

    @model_validator(mode="after")
    def _frames(self) -> AudioTable:
        if self.window is None and (self.hop is not None or self.context):
            raise ValueError("hop and context need window")
        return self
