"""Every target loads, names real channels and keeps its own promises."""

import pytest

from edgepack.devices.open import open_channel
from edgepack.spec.target import load_target, names


@pytest.fixture(params=names())
def target(request):
    return load_target(request.param)


def test_the_five_of_the_readme_are_there():
    assert {"arm64", "arm64-dotprod", "mobile", "x86", "x86-vnni"} <= set(names())


def test_its_channels_can_be_opened(target):
    assert target.verify
    for name in target.verify:
        channel = open_channel(
            name, runtime=target.runtime.version, offline=True, announce=lambda _: None
        )
        channel.close()


def test_float_is_always_a_way_out(target):
    assert target.quantize.schemes[-1] == "float"


def test_what_saturates_is_quantised_safely(target):
    safe = target.quantize.weight_type == "u8" or target.quantize.reduce_range
    assert safe or not target.isa.saturates


def test_it_verifies_with_a_version_that_it_allows(target):
    versions = [target.runtime.minimum, target.runtime.version]
    parts = [tuple(map(int, v.split("."))) for v in versions]
    assert parts == sorted(parts)
