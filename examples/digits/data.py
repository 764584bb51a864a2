"""scikit-learn's digits, scaled to 0..1 and split once."""

import numpy as np
from sklearn.datasets import load_digits


def split(first: int, last: int):
    """Return pictures [n, 1, 8, 8] and labels [n] of a shuffled range."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))[first:last]
    pictures = (digits.images[order, None] / 16).astype(np.float32)
    return pictures, digits.target[order].astype(np.int64)


def train():
    """1,437 pictures to train on."""
    return split(0, 1437)


def calibration():
    """128 of the training pictures, to measure the ranges of activations on."""
    return split(0, 128)


def evaluation():
    """360 pictures that nothing else sees."""
    return split(1437, 1797)
