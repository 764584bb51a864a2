"""A function in the user's Python file as a source: ``torch:model.py:build``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgepack.errors import UsageError, did_you_mean
from edgepack.types import Asset, Samples, Split, digest_of
from edgepack.usercode import code_digest, find

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model


class FactorySource:
    """A function without arguments that returns a torch module, and example inputs beside it.

    It returns ``(module, example_inputs)``, or a module with an attribute ``example_inputs``: a
    tensor, a tuple of them in the order of ``forward``, or a dict by the names of its arguments.
    The first axis of every input is the batch.

    Args:
        file: the Python file.
        function: its name there.
        reference: the two as the user wrote them.

    Raises:
        UsageError: E267 when there is no such file, E272 when it is no Python, E273 when it
            defines no such function.
    """

    gives: Literal["model", "graph"] = "model"
    tokenizer: Path | None = None
    assets: tuple[Asset, ...] = ()
    metric = ""

    def __init__(self, file: Path, function: str, reference: str) -> None:
        if not file.is_file():
            beside = {path.name for path in file.parent.glob("*.py")}
            raise UsageError(
                "E267",
                f"there is no file {file.name}",
                where=reference,
                fix=did_you_mean(file.name, beside) if beside else "put it beside the recipe",
            )
        find(file, function, reference)
        self.name = file.stem
        self.file = file
        self.function = function
        self.reference = reference
        self.digest = digest_of("factory", code_digest(file, function, reference))
        self.data: Mapping[Split, Samples] = {}

    def load(self, context: Context) -> Model:
        """Call the function twice, hold the two models against each other, and return one.

        Raises:
            ModelError: E446 when the code raises or gives no module, E447 when the two differ,
                E448 when there are no example inputs, E433 when the model does not run on them.
        """
        from edgepack.source.user import build, require_same

        first, second = build(self, context.seed), build(self, context.seed)
        require_same(first, second, self.reference)
        return first

    def fresh(self, context: Context) -> Model:
        """Call the function once."""
        from edgepack.source.user import build

        return build(self, context.seed)
