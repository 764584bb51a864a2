import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.artifact.canonical import SAFE, dumps, loads

numbers = st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not SAFE < abs(number) < 1e21
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_round_trip(value):
    data = dumps(value)
    assert loads(data) == value
    assert json.loads(data) == value
    assert dumps(loads(data)) == data


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # The samples of RFC 8785, appendix B.
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (-5e-324, "-5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e23, "1e+23"),
        (1.0000000000000001e23, "1.0000000000000001e+23"),
        (1e21, "1e+21"),
        (9.999999999999997e-7, "9.999999999999997e-7"),
        (0.000001, "0.000001"),
        (333333333.3333332, "333333333.3333332"),
        (-0.0000033333333333333333, "-0.0000033333333333333333"),
        (1424953923781206.2, "1424953923781206.2"),
        # Ours.
        (1.0, "1"),
        (0.5, "0.5"),
        (100.25, "100.25"),
        (SAFE, "9007199254740991"),
        (True, "true"),
        ("€\u000f\nA'\u007f\"\\/\u2028", '"€\\u000f\\nA\'\u007f\\"\\\\/\u2028"'),
        ([], "[]"),
        ({}, "{}"),
        ((1, None), "[1,null]"),
        # Keys go by UTF-16 code units: the surrogates of U+1F600 come before U+FB33.
        ({"\ufb33": 1, "\U0001f600": 2, "\r": 4}, '{"\\r":4,"\U0001f600":2,"\ufb33":1}'),
    ],
)  # fmt: skip
def test_spelling(value, text):
    assert dumps(value).decode() == text
    loads(text.encode())


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        2.0**53,
        1e20,
        SAFE + 1,
        -SAFE - 1,
        {1: 2},
        {None: 1},
        b"x",
        {1, 2},
        "\ud800",
        object,
    ],
    ids=repr,
)
def test_what_has_no_spelling(value):
    with pytest.raises(ValueError, match=r".+"):
        dumps(value)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789.eE+-ntf ', max_size=30))
def test_anything_is_read_as_it_is_or_refused(data):
    data = data.encode() if isinstance(data, str) else data
    try:
        value = loads(data)
    except ValueError:
        return
    assert dumps(value) == data
