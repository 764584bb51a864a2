"""Makes torch modules of transformers folders: positional tensors in, a tuple of tensors out."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from optimum.exporters.tasks import TasksManager
from optimum.utils import (
    DummyTextInputGenerator,
    DummyVisionInputGenerator,
    NormalizedConfigManager,
    NormalizedTextConfig,
    NormalizedVisionConfig,
)
from torch.nn.functional import normalize

from edgepack.child import ChildError, Limits, call
from edgepack.errors import ModelError
from edgepack.model import Model
from edgepack.model.run import repeatable
from edgepack.source.pooling import Pooling
from edgepack.source.transformers import TASKS, unsupported
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.source.transformers import TransformersSource
    from edgepack.types import Tensors

CLASSES = {
    "text-classification": transformers.AutoModelForSequenceClassification,
    "image-classification": transformers.AutoModelForImageClassification,
    "feature-extraction": transformers.AutoModel,
    "text-generation": transformers.AutoModelForCausalLM,
}
TEXT = ("input_ids", "attention_mask", "token_type_ids")
LIMITS = Limits(seconds=300.0, memory=24 << 30)


class Positional(torch.nn.Module):  # type: ignore[misc]
    """A transformers model that takes its inputs in order and answers with one tensor.

    Args:
        model: the transformers model.
        inputs: names of its inputs, in order.
        answer: which of its outputs is given.
        pooling: how tokens become one vector, where they do.
    """

    def __init__(
        self, model: torch.nn.Module, inputs: Sequence[str], answer: str, pooling: Pooling | None
    ) -> None:
        super().__init__()
        self.model = model
        self._inputs = tuple(inputs)
        self._answer = answer
        self._pooling = pooling

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor]:
        """Return the answer alone."""
        named = dict(zip(self._inputs, tensors, strict=True))
        given = getattr(self.model(**named, return_dict=True), self._answer)
        if self._pooling is None:
            return (given,)
        return (pool(given, named["attention_mask"], self._pooling),)


def pool(tokens: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Make one vector [batch, width] of tokens [batch, sequence, width]."""
    if pooling.mode == "cls":
        vector = tokens[:, 0]
    else:
        kept = mask.unsqueeze(-1).to(tokens.dtype)
        vector = (tokens * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
    return normalize(vector, dim=1) if pooling.normalised else vector


def task_of(source: TransformersSource) -> str:
    """Return the task that the user gave, or the one that optimum knows for the saved class.

    Raises:
        ModelError: E440 when there is no such class, or its task is not supported.
    """
    if source.task:
        return source.task
    names = source.config.get("architectures") or ["this model"]
    saved = getattr(transformers, str(names[0]), None)
    try:
        task = str(TasksManager.infer_task_from_model(saved)) if saved else ""
    except (KeyError, ValueError, RuntimeError):
        task = ""
    if not task:
        raise unsupported(f"the task of `{names[0]}` cannot be told")
    if task not in TASKS:
        raise unsupported(f"the task `{task}` is not supported")
    return task


def load(source: TransformersSource, work: Path) -> Model:
    """Return a model with its weights.

    Raises:
        ModelError: E441 when weights are missing or damaged, E442 when transformers refuses, E443
            when it takes neither text nor pictures.
    """
    task = task_of(source)
    folder = _with_safetensors(source.folder, work)
    with _refusing():
        network, found = CLASSES[task].from_pretrained(
            folder,
            attn_implementation="eager",
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    unread = sorted(k for k in found["missing_keys"] if not _dropped(network, k))
    if unread or found["mismatched_keys"]:
        raise _incomplete(unread or sorted(map(str, found["mismatched_keys"])))
    return wrap(network, task, source.pooling)


def untrained(source: TransformersSource) -> Model:
    """Return a model of the same names and shapes with random weights."""
    task = task_of(source)
    with _refusing(), repeatable(0):
        config = transformers.AutoConfig.from_pretrained(source.folder, local_files_only=True)
        network = CLASSES[task].from_config(config, attn_implementation="eager")
    return wrap(network.float(), task, source.pooling)


def wrap(network: Any, task: str, pooling: Pooling | None = None) -> Model:
    """Return a transformers model as a value; a decoder scores all tokens and keeps no cache.

    Raises:
        ModelError: E443 when it takes neither text nor pictures, E433 when it does not run.
    """
    if _drops_pooler(network):
        network.pooler = None
    network.config.use_cache = False
    answer = "last_hidden_state" if task == "feature-extraction" else "logits"
    specs, example = _inputs(network)
    module = Positional(network, [spec.name for spec in specs], answer, pooling)
    name = "sentence_embedding" if pooling else answer
    return Model.of(module, specs, example, (name,))


def _drops_pooler(network: Any) -> bool:
    """Tell whether a model has a pooler that nothing of ours reads, and can go without."""
    return (
        "add_pooling_layer" in inspect.signature(type(network).__init__).parameters
        and getattr(network, "pooler", None) is not None
    )


def _dropped(network: Any, key: str) -> bool:
    return _drops_pooler(network) and key.startswith("pooler.")


def _inputs(network: Any) -> tuple[tuple[TensorSpec, ...], Tensors]:
    """Return what a model takes, and an example: 8 tokens, two of them padding, or a picture."""
    config = network.config
    takes = inspect.signature(network.forward).parameters
    if network.main_input_name == "pixel_values":
        vision = DummyVisionInputGenerator(
            "image-classification", _normalized(config, NormalizedVisionConfig), batch_size=1
        )
        with repeatable(0):
            picture = vision.generate("pixel_values", framework="pt").numpy()
        shape = ("batch", *picture.shape[1:])
        return (TensorSpec(name="pixel_values", dtype="float32", shape=shape),), {
            "pixel_values": picture
        }
    if network.main_input_name != "input_ids" or config.is_encoder_decoder:
        raise ModelError(
            "E443",
            f"`{type(network).__name__}` takes neither plain text nor pictures",
            fix="wrap the model in a factory: source = 'torch:model.py:build'",
        )
    typed = getattr(config, "type_vocab_size", 0) > 1
    names = [n for n in TEXT if n in takes and (typed or n != "token_type_ids")]
    text = DummyTextInputGenerator(
        "text-classification",
        _normalized(config, NormalizedTextConfig),
        batch_size=1,
        sequence_length=8,
    )
    with repeatable(0):
        ids = text.generate("input_ids", framework="pt").numpy().astype(np.int64)
    example = {
        "input_ids": ids,
        "attention_mask": np.array([[1, 1, 1, 1, 1, 1, 0, 0]], np.int64),
        "token_type_ids": np.array([[0, 0, 0, 1, 1, 1, 0, 0]], np.int64),
    }
    specs = tuple(TensorSpec(name=n, dtype="int64", shape=("batch", "sequence")) for n in names)
    return specs, {name: example[name] for name in names}


def _normalized(config: Any, usual: type) -> Any:
    """Return the config under the names that all models share."""
    try:
        return NormalizedConfigManager.get_normalized_config_class(config.model_type)(config)
    except KeyError:
        return usual(config)


def _with_safetensors(folder: Path, work: Path) -> Path:
    """Return a folder whose weights are safetensors: a pickled checkpoint is converted apart."""
    if any(folder.glob("model*.safetensors")):
        return folder
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    if not pickled:
        raise _incomplete(["model.safetensors"])
    safe = work / "converted"
    safe.mkdir()
    shutil.copyfile(folder / "config.json", safe / "config.json")
    arguments = {
        "paths": [str(path.absolute()) for path in pickled],
        "to": str(safe / "model.safetensors"),
    }
    try:
        call("edgepack.source.checkpoint:convert", arguments, LIMITS)
    except ChildError as problem:
        raise ModelError(
            "E441",
            f"{pickled[0].name} cannot be read safely",
            why=problem.detail.splitlines()[0] if problem.detail else problem.reason,
            fix="save the model again with `save_pretrained`, which writes safetensors",
        ) from problem
    return safe


def _incomplete(names: Sequence[str]) -> ModelError:
    return ModelError(
        "E441",
        f"the folder holds no weights for `{names[0]}`",
        why=f"{len(names)} are missing or of another shape; is the task right?",
        fix="save the whole model with `save_pretrained`, or correct `task`",
    )


def silence() -> None:
    """Keep what transformers says, and its progress bars, to itself."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what transformers raises into a refusal."""
    silence()
    try:
        yield
    except Exception as problem:  # transformers raises whatever it meets
        raise ModelError(
            "E442",
            "transformers cannot make the model",
            why=f"{type(problem).__name__}: {problem}".splitlines()[0],
            fix="check config.json and the version of transformers that saved it",
        ) from problem
