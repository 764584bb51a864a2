import pytest

from edgepack.errors import ModelError
from edgepack.quantize.choose import choose, insist
from edgepack.quantize.survey import Survey, survey
from tests.unit.quantize.scene import convnet, encoder

ALL = ("w8a8-static", "w8-dynamic", "float")
CONVNET = Survey(convolutions=20, convolution_work=10**9, products=1, product_work=10**5)
TRANSFORMER = Survey(convolutions=1, convolution_work=10**6, products=36, product_work=10**8)
RECURRENT = Survey(recurrent=2, products=1, product_work=100)


@pytest.mark.parametrize(
    ("found", "calibration", "schemes", "expected"),
    [
        (CONVNET, "given", ALL, "w8a8-static"),
        (CONVNET, "generated", ALL, "float"),
        (CONVNET, "none", ALL, "float"),
        (CONVNET, "given", ("float", *ALL), "w8a8-static"),
        (CONVNET, "given", ("w8-dynamic",), "float"),
        (TRANSFORMER, "given", ALL, "w8-dynamic"),
        (TRANSFORMER, "none", ALL, "w8-dynamic"),
        (TRANSFORMER, "given", ("w8a8-static", "float"), "w8a8-static"),
        (TRANSFORMER, "none", ("w8a8-static", "float"), "float"),
        (TRANSFORMER, "given", (), "float"),
        (RECURRENT, "given", ALL, "float"),
        (Survey(), "given", ALL, "float"),
    ],
)
def test_the_first_scheme_that_suits_is_taken(found, calibration, schemes, expected):
    decision = choose(found, calibration, schemes)
    assert decision.scheme == expected
    assert [c.scheme for c in decision.candidates if c.chosen] == [expected]
    assert all(c.reason for c in decision.candidates)
    assert decision.candidates[-1].scheme == "float"


@pytest.mark.parametrize("calibration", ["none", "generated"])
def test_static_without_real_samples_is_refused(calibration):
    with pytest.raises(ModelError) as refused:
        insist("w8a8-static", CONVNET, calibration)
    assert refused.value.code == "E450"


def test_a_scheme_that_finds_nothing_is_refused():
    with pytest.raises(ModelError) as refused:
        insist("w8-dynamic", Survey(convolutions=3), "given")
    assert refused.value.code == "E455"


def test_what_the_recipe_asks_for_is_taken():
    assert insist("w8-dynamic", CONVNET, "none").scheme == "w8-dynamic"
    assert insist("float", Survey(), "none").scheme == "float"


def test_a_survey_counts_constant_layers_and_their_work():
    found = survey(encoder())
    assert (found.products, found.convolutions, found.quantised) == (3, 0, False)
    assert found.product_work == 2 * 32 * 32 + 7 * 32
    assert not found.convolutional
    assert survey(convnet()).convolutional
