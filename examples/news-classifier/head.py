"""Fits the linear head on MiniLM's embeddings and writes it; a build only reads it."""

from pathlib import Path

import numpy as np
import torch
from data import evaluation, train
from model import untrained
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression


def embeddings(classifier, samples):
    """Return vectors [n, 384] and topics [n]."""
    inputs, topics = zip(*samples, strict=True)
    columns = [torch.from_numpy(np.stack([one[name] for one in inputs])) for name in inputs[0]]
    with torch.no_grad():
        parts = [classifier.embed(*rows) for rows in zip(*(c.split(32) for c in columns))]
    return torch.cat(parts).numpy(), np.array(topics)


def main() -> None:
    """Fit by logistic regression, and say how many articles are told right."""
    classifier = untrained()
    fitted = LogisticRegression(C=100, max_iter=1000).fit(*embeddings(classifier, train()))
    weights = {"weight": fitted.coef_, "bias": fitted.intercept_}
    folder = Path(__file__).parent
    save_file(
        {name: torch.from_numpy(one).float().contiguous() for name, one in weights.items()},
        folder / "head.safetensors",
    )
    vectors, topics = embeddings(classifier, evaluation())
    print(f"{len(topics)} held-out articles: {100 * fitted.score(vectors, topics):.2f} %")


if __name__ == "__main__":
    main()
