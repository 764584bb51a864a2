import pytest

from edgepack.errors import ModelError
from edgepack.quantize.require import require, require_named
from edgepack.quantize.survey import Survey, survey
from tests.unit.quantize.scene import convnet, encoder

CONVNET = Survey(convolutions=20, convolution_work=10**9, products=1, product_work=10**5)
VOICE = Survey(convolutions=4, convolution_work=10**6, recurrent=1)


@pytest.mark.parametrize(
    ("calibration", "word"), [("none", "there is no"), ("generated", "made up")]
)
def test_static_without_real_samples_is_refused(calibration, word):
    with pytest.raises(ModelError) as refused:
        require("w8a8-static", CONVNET, calibration)
    assert refused.value.code == "E450"
    assert word in refused.value.why


@pytest.mark.parametrize(
    ("scheme", "found", "words"),
    [
        ("w8-dynamic", Survey(convolutions=3), ("3 convolutions", "slower than float")),
        ("w8-dynamic", Survey(recurrent=2), ("0 matrix products", "2 recurrent layers stay")),
        ("w8a8-static", Survey(recurrent=2), ("0 convolutions", "2 recurrent layers stay")),
    ],
)
def test_a_scheme_that_finds_nothing_is_refused_with_counts(scheme, found, words):
    with pytest.raises(ModelError) as refused:
        require(scheme, found, "given")
    assert refused.value.code == "E455"
    assert all(word in refused.value.why for word in words)


def test_what_can_be_done_is_not_refused():
    require("w8a8-static", VOICE, "given")
    require("w8-dynamic", CONVNET, "none")
    require("fp16", Survey(), "none")
    require("float", Survey(), "none")


def test_a_survey_counts_constant_layers_and_their_work():
    found = survey(encoder())
    assert (found.products, found.convolutions, found.quantised) == (3, 0, False)
    assert found.product_work == 2 * 32 * 32 + 7 * 32
    assert not found.convolutional
    assert survey(convnet()).convolutional


def test_a_survey_confined_to_operators_counts_these_alone():
    found = survey(convnet(), ("Gemm",))
    assert (found.convolutions, found.products) == (0, 1)
    assert not found.convolutional


def test_a_pattern_that_names_no_layer_is_refused_with_the_nearest():
    proto = convnet()
    require_named(proto, ("fir*", "head"))
    with pytest.raises(ModelError) as refused:
        require_named(proto, ("firts",))
    assert refused.value.code == "E462"
    assert "`first`" in refused.value.fix
