from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgepack.spec.gates import Gates, to_bytes, to_number

UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3} | {
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "count"),
    [("6 MB", 6_000_000), ("1.5kB", 1500), ("2 MiB", 2 << 20), ("7 B", 7), (" 1 kB ", 1000),
     (9, 9)],
)  # fmt: skip
def test_sizes(text, count):
    assert to_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "count"), [("40 M", 40_000_000), ("1.5G", 1_500_000_000), ("7", 7)]
)
def test_numbers(text, count):
    assert to_number(text) == count


@pytest.mark.parametrize(
    "text",
    ["6", "MB", "6 mb", "-1 MB", "+1 MB", "1e3 B", "6 MB extra", "", ".5 MB", "1. MB", "1,5 MB",
     "\N{FULLWIDTH DIGIT SIX} MB", "1\nMB", "inf MB", "9" * 400 + " MB"],
)  # fmt: skip
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="unit"):
        to_bytes(text)


@pytest.mark.parametrize("text", ["1.5 B", "0.1 kB extra", "1.0005 kB"])
def test_parts_of_a_byte_are_not_rounded(text):
    with pytest.raises(ValueError, match="as in"):
        to_bytes(text)


@given(st.integers(0, 10**15 - 1), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " ", "  "]))
def test_whole_sizes_are_exact(number, unit, space):
    assert to_bytes(f"{number}{space}{unit}") == number * UNITS[unit]


@given(st.decimals(0, 10**6, places=6, allow_nan=False), st.sampled_from(sorted(UNITS)))
def test_a_size_with_a_point_is_exact_or_refused(number, unit):
    exact = Decimal(number) * UNITS[unit]
    if exact == exact.to_integral_value():
        assert to_bytes(f"{number:f} {unit}") == int(exact)
    else:
        with pytest.raises(ValueError, match="whole"):
            to_bytes(f"{number:f} {unit}")


@given(st.text(max_size=12))
def test_any_text_is_a_limit_or_an_error_of_validation(text):
    try:
        size = Gates(size=text).size
    except ValidationError:
        return
    assert isinstance(size, int)
    assert size > 0


def test_the_stronger_limits_cover_the_weaker():
    both = Gates(size=5, cosine=0.9).over(Gates(size=7, max_drop=2))
    assert both == Gates(size=5, cosine=0.9, max_drop=2.0)
