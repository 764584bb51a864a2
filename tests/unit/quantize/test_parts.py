import pytest

from edgepack.quantize.parts import parts
from edgepack.quantize.quantize import Quantize

MIXED = {"Conv": 5, "Relu": 5, "MatMul": 4, "Gemm": 1}


@pytest.mark.parametrize(
    ("operators", "scheme", "expected"),
    [
        (MIXED, "w8a8-static", (("Conv",), ("MatMul", "Gemm"))),
        (MIXED, "w8-dynamic", ()),
        (MIXED, "fp16", ()),
        ({"Conv": 5, "Relu": 5}, "w8a8-static", ()),
        ({"MatMul": 5, "Gemm": 1}, "w8a8-static", ()),
        ({}, "w8a8-static", ()),
    ],
)
def test_convolutions_and_products_are_told_apart_where_both_are(operators, scheme, expected):
    assert parts(operators, scheme) == expected


def test_a_confined_scheme_is_named_so_and_not_confined_again():
    static = Quantize(scheme="w8a8-static")
    some = static.narrower({"operators": MIXED})
    assert [way.label for way in some] == ["w8a8-static (Conv)", "w8a8-static (MatMul, Gemm)"]
    assert all(way.narrower({"operators": MIXED}) == () for way in some)
    assert Quantize().narrower({"operators": MIXED}) == ()
