"""The samples that a method learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepack.errors import UsageError
from edgepack.types import Samples, Split

if TYPE_CHECKING:
    from edgepack.base import Context


def shown(context: Context, splits: Sequence[Split], method: str) -> Samples:
    """Return the first of some splits that is at hand; samples that were made up are noted.

    Raises:
        UsageError: E227 when none is.
    """
    split = next((split for split in splits if split in context.data), None)
    if split is None:
        raise UsageError(
            "E227",
            f"`{method}` needs {' or '.join(splits)} data, and the recipe names none",
            where="data",
            fix=f'add `{splits[0]} = "..."` under [data], or take one that needs no data',
        )
    samples = context.data[split]
    if samples.generated:
        context.events.note(
            f"the {split} samples were made up: what layers are fed in truth may differ, so judge "
            "the result on real data"
        )
    return samples
