"""A function in the user's Python file as a source: ``torch:model.py:build``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgepack.errors import UsageError, did_you_mean
from edgepack.source.code import defined, files_behind
from edgepack.types import Asset, Samples, Split, digest_of, file_digest

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
        UsageError: E262 when the file is no Python, E267 when there is no such file or function.
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
        names = defined(file)
        if function not in names and "*" not in names:
            raise UsageError(
                "E267",
                f"{file.name} defines no `{function}`",
                where=reference,
                fix=did_you_mean(function, names) if names else f"define `{function}` there",
            )
        self.name = file.stem
        self.file = file
        self.function = function
        self.reference = reference
        files = {name: file_digest(path) for name, path in files_behind(file).items()}
        self.digest = digest_of("factory", function, files)
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
