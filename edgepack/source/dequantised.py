"""Makes torch modules of GGUF files: weights of few bits become float32."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from edgepack.errors import ModelError
from edgepack.model import Model
from edgepack.model.run import repeatable
from edgepack.source.gguf import damaged
from edgepack.source.pretrained import CLASSES, silence, wrap

if TYPE_CHECKING:
    from edgepack.source.gguf import GgufSource

DECODER = CLASSES["text-generation"]
SPELT = {
    "qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gpt-oss": "gpt_oss",
    "minimax-m2": "minimax_m2",
}  # fmt: skip
"""Architectures that the file and transformers spell differently."""


def load(source: GgufSource) -> Model:
    """Return a model with its weights.

    Raises:
        ModelError: E471 when the file is damaged, E472 when the architecture is not known, E474
            when weights are missing, E443 when it does not take plain text.
    """
    path = source.path
    with _reading(source):
        network, found = DECODER.from_pretrained(
            path.parent,
            gguf_file=path.name,
            attn_implementation="eager",
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    if unread := sorted([*found["missing_keys"], *map(str, found["mismatched_keys"])]):
        raise ModelError(
            "E474",
            f"{path.name} holds no weights for `{unread[0]}`",
            why=f"{len(unread)} are missing or of another shape",
            fix="convert the model again, or save it with `save_pretrained` and name that folder",
        )
    return wrap(network, "text-generation")


def untrained(source: GgufSource) -> Model:
    """Return a model of the same names and shapes with random weights.

    Raises:
        ModelError: E471 or E472 as `load`.
    """
    path = source.path
    with _reading(source), repeatable(0):
        config = transformers.AutoConfig.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True
        )
        network = DECODER.from_config(config, attn_implementation="eager")
    return wrap(network.float(), "text-generation")


def write_tokenizer(path: Path, folder: Path) -> None:
    """Write the file's tokenizer as ``tokenizer.json``.

    Raises:
        ModelError: E473 when there is none, or it is of a kind that transformers cannot read.
    """
    silence()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True
        )
        tokenizer.save_pretrained(folder)
    except Exception as problem:  # transformers raises whatever it meets
        raise ModelError(
            "E473",
            f"the tokenizer in {path.name} cannot be read",
            why=f"{type(problem).__name__}: {problem}".splitlines()[0],
            fix="save the model with `save_pretrained` and name that folder",
        ) from problem


@contextlib.contextmanager
def _reading(source: GgufSource) -> Iterator[None]:
    """Refuse an architecture that is not known, and a file that cannot be read."""
    spelt = SPELT.get(source.architecture, source.architecture)
    known = sorted({*GGUF_SUPPORTED_ARCHITECTURES} & {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES})
    if spelt and spelt not in known:
        raise ModelError(
            "E472",
            f"transformers makes no decoder of the architecture `{source.architecture}`",
            where=source.path.name,
            why=f"it knows {', '.join(known)}",
            fix="save the model with `save_pretrained` and name that folder, or wrap it in a "
            "factory: source = 'torch:model.py:build'",
        )
    silence()
    try:
        # The bar over the tensors is none of transformers' own.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except Exception as problem:  # transformers and gguf raise whatever they meet
        why = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise damaged(source.path, why) from problem
