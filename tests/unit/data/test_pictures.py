import sys

import numpy as np
import pytest
from PIL import Image

from edgepack.data import open_data
from edgepack.errors import HostError, UsageError
from edgepack.spec.recipe import DataTable
from edgepack.types import TensorSpec


def spec(*shape, dtype="float32"):
    return TensorSpec(name="image", dtype=dtype, shape=("batch", *shape))


@pytest.fixture
def opened(tmp_path):
    (tmp_path / "pics").mkdir()

    def make(*inputs, **table):
        data = DataTable.model_validate({"pictures": table})
        return open_data("pics", tmp_path, inputs=lambda: inputs, table=data)

    return make


@pytest.fixture
def save(tmp_path, opened):
    def make(name, pixels, mode=None, **options):
        path = tmp_path / "pics" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.array(pixels, np.uint8)).convert(mode).save(path, **options)

    return make


def one(samples):
    (sample,) = samples
    return sample.inputs[0]["image"]


RED_BLUE = [[[255, 0, 0], [0, 0, 255]]]
"""One row of a red and a blue pixel."""


@pytest.mark.parametrize("ending", ["png", "bmp", "ppm"])
def test_pixels_become_0_to_1_channels_first(opened, save, ending):
    save(f"a.{ending}", RED_BLUE)
    array = one(opened(spec(3, 1, 2)))
    assert array.dtype == np.float32
    assert array.tolist() == [[[[1, 0]], [[0, 0]], [[0, 1]]]]


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "webp"])
def test_other_kinds_are_read(opened, save, ending):
    save(f"a.{ending}", np.full((8, 8, 3), 128))
    assert np.allclose(one(opened(spec(3, 8, 8))), 0.5, atol=0.02)


def test_the_model_decides_the_layout_and_the_table_the_rest(opened, save):
    save("a.png", RED_BLUE)
    array = one(
        opened(spec(1, 2, 3), layout="nhwc", colour="bgr", scale=1, mean=[1, 2, 3], std=[1, 2, 4])
    )
    assert array.tolist() == [[[[-1, -1, 63], [254, -1, -0.75]]]]


def test_a_model_of_bytes_is_fed_bytes(opened, save):
    save("a.png", [[7, 200]])
    array = one(opened(spec(1, 1, 2, dtype="uint8")))
    assert (array.dtype, array.tolist()) == (np.uint8, [[[[7, 200]]]])
    with pytest.raises(UsageError, match="do not fit"):
        list(opened(spec(1, 1, 2, dtype="uint8"), mean=[0.5]))


def test_grey_is_the_luminance(opened, save):
    save("a.png", RED_BLUE)
    assert np.allclose(one(opened(spec(1, 1, 2))) * 255, [[[[76, 29]]]], atol=1)


def test_the_size_follows_from_the_model(opened, save):
    wide = np.tile(np.arange(40) * 6, (10, 1))
    save("a.png", wide)
    covered = one(opened(spec(1, 20, 20)))  # twice as large, then its middle
    assert covered.shape == (1, 1, 20, 20)
    assert np.allclose(covered[0, 0, 5] * 255, np.arange(30, 50) * 3 - 1.5, atol=2)
    assert one(opened(spec(1, "h", "w"))).shape == (1, 1, 10, 40)
    assert one(opened(spec(1, "h", "w"), resize=5)).shape == (1, 1, 5, 20)
    assert one(opened(spec(1, "h", "w"), resize=[6, 7])).shape == (1, 1, 6, 7)
    assert one(opened(spec(1, "h", "w"), crop=5)).shape == (1, 1, 5, 5)
    cut = one(opened(spec(1, "h", "w"), resize=10, crop=[4, 8]))
    assert np.allclose(cut[0, 0, 0] * 255, np.arange(16, 24) * 6)


def test_interpolation_is_the_one_named(opened, save):
    save("a.png", [[0, 255]])
    found = {
        kind: one(opened(spec(1, "h", "w"), resize=[1, 8], interpolation=kind))[0, 0, 0]
        for kind in ("nearest", "bilinear", "bicubic")
    }
    assert found["nearest"].tolist() == [0] * 4 + [1] * 4
    assert 0 < found["bilinear"][3] < 0.5
    assert not np.allclose(found["bilinear"], found["bicubic"])


def test_pictures_stand_upright(opened, save):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    save("a.jpg", np.zeros((4, 8, 3)), exif=exif)
    assert one(opened(spec(3, "h", "w"))).shape == (1, 3, 8, 4)


def test_classes_are_numbered_without_opening_a_picture(tmp_path, opened, save):
    for name in ("dog/a.png", "cat/b.png"):
        save(name, [[1]])
    (tmp_path / "pics" / "dog" / "z.png").write_bytes(b"broken")
    read = iter(opened(spec(1, 1, 1)))
    assert [next(read).label, next(read).label] == [0, 1]
    with pytest.raises(UsageError) as caught:
        next(read)
    assert (caught.value.code, caught.value.where) == ("E293", "pics/dog/z.png")


def test_the_digest_follows_the_table(opened, save):
    save("a.png", [[1]])
    assert opened(spec(1, 1, 1)).digest == opened(spec(1, 1, 1)).digest
    assert opened(spec(1, 1, 1)).digest != opened(spec(1, 1, 1), scale=1).digest


@pytest.mark.parametrize(
    ("inputs", "table", "why"),
    [
        ([spec(3, 1, 1), spec(3, 1, 1)], {}, "image, image"),
        ([spec(8)], {}, "image: float32[batch, 8]"),
        ([spec(4, 2, 2)], {}, "4, 2, 2"),
        ([spec(3, 1, 9)], {"layout": "nhwc"}, "3, 1, 9"),
        ([spec(3, 1, 9)], {"colour": "grey"}, "3 channels"),
        ([spec(1, 1, 9)], {"mean": [1, 2, 3]}, "for one channel"),
        ([spec(3, 1, 1, dtype="int64")], {}, "int64"),
    ],
)
def test_pictures_that_do_not_fit_the_model_are_refused(opened, save, inputs, table, why):
    save("a.png", RED_BLUE)
    with pytest.raises(UsageError) as caught:
        list(opened(*inputs, **table))
    assert caught.value.code == "E292"
    assert why in caught.value.why


def test_a_crop_larger_than_the_picture_is_refused(opened, save):
    save("a.png", RED_BLUE)
    with pytest.raises(UsageError) as caught:
        list(opened(spec(3, 8, 8), resize=4))
    assert caught.value.code == "E293"
    assert "4 x 8" in caught.value.why


def test_pictures_of_16_bits_are_not_clipped_in_silence(tmp_path, opened):
    Image.fromarray(np.array([[1000]], np.uint16)).save(tmp_path / "pics" / "a.png")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        list(opened(spec(1, 1, 1)))
    assert "8 bits" in caught.value.why


def test_without_pillow_it_says_what_to_install(opened, save, monkeypatch):
    save("a.png", RED_BLUE)
    samples = opened(spec(3, 1, 2))
    assert len(samples) == 1  # counting needs none
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(HostError) as caught:
        list(samples)
    assert "pip install" in caught.value.fix


def test_a_refusal_holds_no_absolute_path(tmp_path, opened):
    (tmp_path / "pics" / "a.png").write_bytes(b"broken")
    with pytest.raises(UsageError) as caught:
        list(opened(spec(1, 1, 1)))
    assert str(tmp_path) not in str(caught.value) + caught.value.why
