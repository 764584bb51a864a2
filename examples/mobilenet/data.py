"""Pictures that the foolbox and scikit-learn wheels carry, as the network wants them."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
SIDE = 224


def evaluation():
    """20 pictures of ImageNet; the label is the last number of the file's name."""
    for path in sorted(folder("foolbox", "data").glob("imagenet_*.jpg")):
        with Image.open(path) as picture:
            yield pixels(picture), int(path.stem.split("_")[-1])


def calibration():
    """Two photographs in patches, and 40 pictures of CIFAR: none of them is evaluated on."""
    for path in sorted(folder("sklearn", "datasets", "images").glob("*.jpg")):
        with Image.open(path) as picture:
            for left in range(0, picture.width - SIDE, 104):
                for top in range(0, picture.height - SIDE, 101):
                    yield pixels(picture.crop((left, top, left + SIDE, top + SIDE)))
    for path in sorted(folder("foolbox", "data").glob("cifar10*.png")):
        with Image.open(path) as picture:
            yield pixels(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def pixels(picture):
    """Return a picture as [3, 224, 224]: shorter side 256, the centre, ImageNet's statistics."""
    picture = picture.convert("RGB")
    if picture.size != (SIDE, SIDE):
        scale = 256 / min(picture.size)
        picture = picture.resize([round(side * scale) for side in picture.size])
        left, top = ((side - SIDE) // 2 for side in picture.size)
        picture = picture.crop((left, top, left + SIDE, top + SIDE))
    values = np.asarray(picture, np.float32) / 255
    return ((values - MEAN) / DEVIATION).transpose(2, 0, 1)


def folder(package, *parts):
    """Return a folder of an installed package, without importing it."""
    return Path(find_spec(package).submodule_search_locations[0], *parts)
