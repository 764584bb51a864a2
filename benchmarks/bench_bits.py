"""Few bits, held against bars: GPTQ against the nearest levels, and what training is needed for.

MiniLM: error of each linear layer's output on held-out articles, 4 bits. SmolLM2: perplexity with
its linear layers at 4 bits; the file that its weights come from holds them in 4 bits already, in
blocks of 32, which flatters the nearest levels at that group. Digits: points lost by two bits,
ternary and binary without training, and bytes. Exit status 1 if a bar does not hold.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from bench_smollm2 import Scene
from bench_sparse_minilm import articles, classifier
from safetensors.torch import load_file
from torch import nn
from verdict import verdict

from edgepack.quantize.bits.few import few
from edgepack.quantize.bits.gptq import gptq
from edgepack.quantize.bits.grids import Kind, output_error
from edgepack.quantize.bits.rtn import rtn
from edgepack.quantize.packed import pack

GROUPS = (32, 128)
LOOKED, JUDGED = 64, 64
WINDOWS = 48
SHARES = {"w2": 14, "ternary": 14, "binary": 28}
LOST = 20.0
DIGITS = Path(__file__).parents[1] / "examples" / "digits"


def linears(module: nn.Module, size: int = 10_000) -> dict[str, nn.Linear]:
    """Return linear layers by name, those of few weights and heads left out."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and layer.weight.numel() >= size and "head" not in name
    }


@contextmanager
def seen(layers: dict[str, nn.Linear]) -> Iterator[dict[str, np.ndarray]]:
    """Gather X^T X of every layer's input while the model runs."""
    grams: dict[str, torch.Tensor] = {}

    def add(name: str, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
        grams[name] = grams.get(name, 0) + rows.T @ rows

    hooks = [layer.register_forward_pre_hook(partial(add, name)) for name, layer in layers.items()]
    found: dict[str, np.ndarray] = {}
    yield found
    for hook in hooks:
        hook.remove()
    found.update({name: gram.numpy() for name, gram in grams.items()})


def gathered(
    module: nn.Module, layers: dict[str, nn.Linear], runs: Iterable[Callable[[], object]]
) -> dict[str, np.ndarray]:
    """Return X^T X by layer over some runs."""
    module.eval()
    with torch.no_grad(), seen(layers) as found:
        for run in runs:
            run()
    return found


def minilm() -> Iterator[tuple[str, bool]]:
    """Yield the bars of layer output errors, each relative to its output, mean over layers."""
    model = classifier()
    layers = linears(model.module.encoder)
    train, held = (
        gathered(
            model.module,
            layers,
            (partial(model.run, s.inputs[0]) for s in part.samples[:count]),
        )
        for part, count in zip(articles(), (LOOKED, JUDGED), strict=True)
    )
    names = [name for name in layers if name in held]
    for group in GROUPS:
        kind = Kind(4, group, symmetric=False)
        off: dict[str, list[float]] = {"rtn": [], "gptq": []}
        for name in names:
            weight = layers[name].weight.detach().numpy()
            whole = output_error(weight.astype(np.float64), held[name])
            for method, blocks in (
                ("rtn", rtn(weight, kind)),
                ("gptq", gptq(weight, train[name], kind)),
            ):
                off[method].append(output_error(blocks.values() - weight, held[name]) / whole)
        plain, fitted = np.mean(off["rtn"]), np.mean(off["gptq"])
        wins = sum(a < b for a, b in zip(off["gptq"], off["rtn"], strict=True))
        yield (
            f"MiniLM, group {group}: output error gptq {fitted:.5f} < rtn {plain:.5f} "
            f"(less in {wins} of {len(names)} layers)",
            bool(fitted < plain),
        )


def smollm2() -> Iterator[tuple[str, bool]]:
    """Yield the bars of perplexity."""
    scene = Scene()
    torch.set_num_threads(2)
    module = scene.model.module
    layers = linears(module)
    runs = (
        partial(scene.model.run, sample.inputs[0])
        for place, sample in enumerate(scene.context.data["train"])
        if place < WINDOWS
    )
    found = gathered(module, layers, runs)
    floats = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    print(f"SmolLM2 float: perplexity {scene.perplexity(scene.model):.2f}", flush=True)
    for group in GROUPS:
        kind = Kind(4, group, symmetric=False)
        scores = {}
        for method in ("rtn", "gptq"):
            for name, layer in layers.items():
                weight = floats[name].numpy()
                blocks = rtn(weight, kind) if method == "rtn" else gptq(weight, found[name], kind)
                with torch.no_grad():
                    layer.weight.copy_(torch.from_numpy(blocks.values()))
            scores[method] = scene.perplexity(scene.model)
            print(f"SmolLM2 {method} {group}: perplexity {scores[method]:.2f}", flush=True)
        yield (
            f"SmolLM2, group {group}: perplexity gptq {scores['gptq']:.2f} < "
            f"rtn {scores['rtn']:.2f}",
            scores["gptq"] < scores["rtn"],
        )


def digits() -> Iterator[tuple[str, bool]]:
    """Yield the bars of points lost and of bytes."""
    sys.path.insert(0, str(DIGITS))
    import data
    import model

    module = model.build()[0].eval()
    pictures, labels = data.evaluation()
    floats = load_file(DIGITS / "weights.safetensors")
    layers = {name: layer for name, layer in module.named_modules() if hasattr(layer, "weight")}
    layers = {name: layer for name, layer in layers.items() if layer.weight.ndim > 1}
    assert set(layers) <= {name.removesuffix(".weight") for name in floats}

    def accuracy() -> float:
        with torch.no_grad():
            told = module(torch.from_numpy(pictures)).argmax(1).numpy()
        return 100 * float(np.mean(told == labels))

    whole = accuracy()
    for width, share in SHARES.items():
        module.load_state_dict(floats)
        stored = plain = 0
        for layer in layers.values():
            weight = layer.weight.detach().numpy()
            levels, steps = few(weight, 0, width)
            stored += pack(levels, width)[0].nbytes + 2 * len(steps)
            plain += weight.nbytes
            values = levels * steps.reshape(-1, *[1] * (weight.ndim - 1))
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(values.astype(np.float32)))
        lost = whole - accuracy()
        yield f"digits, {width}: {lost:.1f} points lost >= {LOST:.0f}", lost >= LOST
        yield f"digits, {width}: bytes 1/{plain / stored:.1f} <= 1/{share}", share * stored <= plain


def main() -> int:
    """Hold the bars."""
    began, found = time.monotonic(), {}
    for part in (digits, minilm, smollm2):
        for says, holds in part():
            found[says] = holds
            print(f"{says}: {'holds' if holds else 'FAILS'}", flush=True)
    return verdict(found, began)


if __name__ == "__main__":
    raise SystemExit(main())
